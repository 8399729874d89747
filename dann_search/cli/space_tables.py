"""Search spaces as people read them: dimensions, what a search will take, shipped files."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from dann_search.cli.app import sentence
from dann_search.config.space import Space
from dann_search.outputs.space import Estimate, SearchedParameter, ShippedSpaces, SpaceSummary
from dann_search.results.lines import describe, summary


def shipped_spaces(result: ShippedSpaces) -> Table:
    """Return the experiment files that come with the package, and what each is for."""
    table = Table("name", "for", box=None, pad_edge=False)
    for one in result.spaces:
        table.add_row(one.name, one.title)
    return table


def space_lines(result: SpaceSummary, space: Space) -> Iterator[RenderableType]:
    """Yield the dimensions of a search space, its size, and sampled configurations."""
    table = Table(box=None, pad_edge=False)
    for column in ("parameter", "values", "where"):
        table.add_column(column, overflow="fold")
    for one in result.parameters:
        table.add_row(one.name, _values(one), _condition(one, space))
    count = f"{result.combinations:,}" if result.combinations else "no end (ranges without a step)"
    if result.trials == result.combinations:
        count += ": each is trained once, then the search ends"
    lines = [f"configurations: {count}", f"early stopping: {result.scheduler}"]
    lines.append(f"on this machine: {result.plan}")
    lines.append(f"on disk: {result.disk}")
    if result.few_labels:
        lines.append(f"labels of the target's training images trained on: {result.few_labels}")
    if not result.target_labelled:
        lacks = "no other labels" if result.few_labels else "no labels"
        lines.append(f"the target has {lacks}: {result.objective} chooses trials and epochs")
    if result.licences:
        named = ", ".join(f"{name} {licence}" for name, licence in result.licences.items())
        lines.append(f"licences of published weights: {named}")
    if result.estimate:
        lines += estimated(result.estimate)
    lines.append("")
    lines += [f"sample {n}: {describe(sample)}" for n, sample in enumerate(result.samples, 1)]
    yield table
    yield ""
    yield from map(sentence, lines)


def estimated(found: Estimate) -> Iterator[str]:
    """Yield what a search will cost, and what each kind of its recipes does."""
    yield summary(found)
    slot_hours = [hours * found.slots for hours in (found.hours_low, found.hours_high)]
    yield (
        f"    on other machines: {slot_hours[0]:.3g} to {slot_hours[1]:.3g} hours of slots like "
        "these, divided by their number"
    )
    if found.memory_gb is not None:
        yield f"    memory of a slot: up to {found.memory_gb:.1f} GB"
    if found.disk_gb is not None:
        yield f"    disk: up to {found.disk_gb:.2g} GB"
    for one in found.measured:
        depth = "" if one.unfrozen_depth is None else f", unfrozen_depth {one.unfrozen_depth}"
        yield (
            f"    {one.backbone}{depth} at {one.side} px: {one.step_s:.3g} s a step, "
            f"{one.epoch_s:.3g} s an epoch, {one.share:.0%} of the recipes"
            + (f"; {one.kept_s:.3g} s in all for features that are kept" if one.kept_s else "")
        )


def _values(parameter: SearchedParameter) -> str:
    if parameter.kind == "choice":
        return ", ".join(map(str, parameter.range))
    step, is_int = parameter.step, parameter.kind == "int"
    whole = "whole numbers " if is_int else ""
    steps = "" if step is None or (is_int and step == 1) else f" by {step:g}"
    log = ", logarithmic" if parameter.kind == "loguniform" else ""
    own = [f"{_between(bounds)} for {name}" for name, bounds in parameter.per_backbone.items()]
    return "; ".join([f"{whole}{_between(parameter.range)}{steps}{log}", *own])


def _between(bounds: Sequence[Any]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def _condition(parameter: SearchedParameter, space: Space) -> str:
    """Return the condition of a parameter, as far as it depends on what is searched."""
    parts = []
    for name, wanted in parameter.when.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if name in space.parameters:
            parts.append(f"{name} is {' or '.join(map(str, values))}")
        elif (fixed := getattr(space.fixed, name)) not in values:
            return f"never: {name} is {fixed}"
    return " and ".join(parts)
