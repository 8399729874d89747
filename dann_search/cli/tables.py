"""Results as people read them: tables and sentences. Only this room draws."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from dann_search.cli.app import WIDE, sentence
from dann_search.config.space import Space
from dann_search.inference.model_files import read_record_of_model
from dann_search.outputs import models, search, trials
from dann_search.outputs import space as spaces
from dann_search.outputs.shared import BestTrial
from dann_search.results.lines import (
    describe,
    duration,
    headline,
    label,
    short,
    shown_trials,
    summary,
)
from dann_search.results.selection import value_of
from dann_search.results.status import BY_ITSELF, Snapshot
from dann_search.training.result import F1_MACRO

SHOWN = 50
"""Trials of the leaderboard unless --top says otherwise."""
SHOWN_FAILED = 5
"""Failed trials whose error ``status`` shows, the newest last."""
LEADERBOARD_STYLES = {"completed": "", "pruned": "dim", "running": "cyan", "failed": "red"}
LIVE_STYLES = {"completed": "bold", "running": "cyan", "failed": "red"}


def live(snapshot: Snapshot, left: str = "") -> Table:
    """Return the live table of one search: trials at work or just ended, above the headline."""
    # The recipe alone is cut where the console is narrow.
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("trial", justify="right")
    table.add_column("state")
    table.add_column("epoch", justify="right")
    table.add_column(f"best {label(snapshot.status)}", justify="right")
    table.add_column("recipe", overflow="ellipsis", no_wrap=True, ratio=1)
    for number, state, epochs, score, recipe in shown_trials(snapshot):
        style = LIVE_STYLES.get(state, "dim")
        table.add_row(number, state, epochs, score, Text(recipe), style=style)
    board = Table.grid(expand=True)
    board.add_row(table)
    board.add_row(Text(headline(snapshot, left), style="bold"))
    return board


def experiments(snapshots: Sequence[Snapshot]) -> Group:
    """Return one line per experiment, below them why some cannot be read."""
    table = Table(box=None, pad_edge=False)
    for name in ("experiment", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("trials done", "pruned", "failed", "best F1 val", "trial", "last report"):
        table.add_column(name, justify="right")
    for one in (snapshot.status for snapshot in snapshots):
        if one.error:
            table.add_row(one.name, one.state)
            continue
        best, since = one.best, one.last_report_s
        score, number = (_best_of(one, best), str(best.trial)) if best else ("", "")
        number += " (pruned)" if best and not one.completed else ""
        counts = (f"{one.finished}/{one.total}", str(one.pruned), str(one.failed))
        ago = "" if since is None else f"{duration(since)} ago"
        table.add_row(one.name, one.state, *counts, score, number, ago)
    states = [snapshot.status for snapshot in snapshots]
    return Group(table, *(sentence(f"{one.name}: {one.error}") for one in states if one.error))


def _best_of(status: trials.Status, best: BestTrial) -> str:
    """Return the best F1; where the target has no labels the objective's value, with its name."""
    if best.f1_macro_val is None:
        return f"{status.objective} {best.score:.3f}"
    return f"{best.f1_macro_val:.3f}"


def details(snapshot: Snapshot) -> Iterator[RenderableType]:
    """Yield what ``status`` shows of one experiment: trials at work, and why others failed."""
    yield from incomplete(snapshot.status.confirmation)
    if snapshot.running:
        yield ""
        yield live(snapshot)
    for one in snapshot.status.failures[-SHOWN_FAILED:]:
        yield Text(f"trial {one.trial} failed: {one.error}", style="red")


def incomplete(confirmation: Any) -> list[str]:
    """Say that finalists still lack trainings, if they do."""
    return [str(confirmation)] if confirmation and not confirmation.is_whole else []


@dataclass(frozen=True)
class OneLineEach:
    """A table whose last columns are cut where the terminal is too narrow; no row is broken.

    Attributes:
        table: of columns that do not wrap.
        cut: number of the last columns that give way.
    """

    table: Table
    cut: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it; only a table that is too wide is fitted, as a pipe has columns without end."""
        natural = console.measure(self.table, options=options.update_width(WIDE)).maximum
        if natural > options.max_width:
            self.table.expand = True
            for column in self.table.columns[-self.cut :]:
                column.ratio = 1
        yield self.table


def leaderboard(
    board: trials.Leaderboard, top: int | None = None, columns: Sequence[str] | None = None
) -> Iterator[RenderableType]:
    """Yield a table of trials, one line each; with another objective than F1, its value beside F1.

    Parameters that are the same in all of them come first, once.

    Args:
        board: the trials.
        top: how many are shown.
        columns: parameters that get a column each; otherwise all that differ share one, which is
            cut where the terminal ends.
    """
    objective, shown = board.objective, board.trials[: top or SHOWN]
    scores = ["F1 val"] if objective == F1_MACRO else [objective, "F1 val"]
    labelled = objective == F1_MACRO or any(one.f1_macro_val is not None for one in board.trials)
    scores = scores if labelled else [objective]
    confirmed = ["new seeds"] if any(one.confirmed.values for one in shown) else []
    alike = {} if columns else _alike(shown)
    rows = []
    for one in shown:
        values = [one.f1_macro_val] if objective == F1_MACRO else [one.score, one.f1_macro_val]
        cells = ["" if value is None else f"{value:.3f}" for value in values[: len(scores)]]
        cells += [str(one.epochs), *([_over_seeds(one.confirmed)] if confirmed else [])]
        recipe = [_described(one, alike)]
        if columns:
            found = [value_of(one, name) for name in columns]
            recipe = ["" if value is None else short(value) for value in found]
        rows.append([str(one.trial), one.state, *cells, *recipe])
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "state", *scores, "epochs", *confirmed):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    for name in columns or ["parameters that differ"]:
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for one, row in zip(shown, rows, strict=True):
        table.add_row(*map(Text, row), style=LEADERBOARD_STYLES[one.state])
    if alike:
        yield sentence(f"the same in all: {describe(alike)}")
    yield OneLineEach(table, len(columns or [""]))
    yield from map(sentence, incomplete(board.confirmation))
    if top is None and (count := len(board.trials)) > SHOWN:
        yield sentence(f"the first {len(shown)} of {count} trials; all: --top {count}")


def _alike(shown: Sequence[trials.LeaderboardTrial]) -> dict[str, Any]:
    """Return the searched parameters that several trials have, all with the same value."""
    first = shown[0].searched if len(shown) > 1 else {}
    return {
        name: value
        for name, value in first.items()
        if all(one.searched.get(name) == value for one in shown)
    }


def _described(trial: trials.LeaderboardTrial, alike: dict[str, Any]) -> str:
    if trial.confirms is not None:
        return f"trial {trial.confirms} again, seed {trial.config.seed}"
    if trial.error is not None:
        return trial.error
    origin = "" if trial.origin in (None, "grid") else f"[{trial.origin}] "
    return origin + describe({k: v for k, v in trial.searched.items() if k not in alike})


def _over_seeds(confirmed: trials.Confirmed) -> str:
    if confirmed.mean is None:
        return ""
    spread = "" if confirmed.sd is None else f" ± {confirmed.sd:.3f}"
    return f"{confirmed.mean:.3f}{spread}"


def cleaned_up(result: trials.CleanedUp) -> str:
    """Say what was deleted."""
    done = "would delete" if result.dry_run else "deleted"
    kept = ", ".join(map(str, result.kept)) or "none"
    size = f"{result.bytes / 2**20:.1f} MiB"
    return f"{done} {result.files} files, {size}; models kept of trials: {kept}"


def search_ended(result: search.SearchEnded) -> Iterator[Text]:
    """Yield how a search ended, its best trial, and what to do next."""
    counts, best, where = result.trials, result.best, result.experiment
    yield sentence(
        f"{counts.completed} trials completed, {counts.pruned} pruned, "
        f"{counts.failed} failed in {duration(result.elapsed_s)}"
    )
    if best:
        by = "" if result.objective == F1_MACRO else f", chosen by {result.objective}"
        if best.f1_macro_val is None:
            measured = f"{result.objective} {best.score:.3f} on target val, which needs no label"
        else:
            measured = f"macro-F1 {best.f1_macro_val:.3f} on target val{by}"
        rule = "" if counts.completed else "; it was pruned: any completed trial ranks above it"
        yield sentence(f"best: trial {best.trial}, {measured}{rule}")
        if best.confirmed_mean is not None:
            yield sentence(f"    {best.confirmed_mean:.3f} on average over new seeds")
        for line in incomplete(result.confirmation):
            yield sentence(f"    {line}; it is best by the search alone")
        yield sentence(f"    {describe(best.searched)}")
        yield sentence(f"    {where}/best/model.safetensors")
    if result.stopped_by == "trials":
        yield next_step(result)
    else:
        why = BY_ITSELF.get(result.stopped_by, "interrupted")
        yield sentence(f"stopped: {why}; go on with: dann-search resume {where}")
        if best and counts.completed:
            yield sentence("    best is the completed trial of the highest score, until then")


def next_step(result: search.SearchEnded) -> Text:
    """Say how to measure the best model."""
    labelled = result.best is None or result.best.f1_macro_val is not None
    data = "" if labelled else " --data LABELLED_FOLDER"
    return sentence(f"next: dann-search evaluate {result.experiment}{data}")


def shipped_spaces(result: spaces.ShippedSpaces) -> Table:
    """Return the experiment files that come with the package, and what each is for."""
    table = Table("name", "for", box=None, pad_edge=False)
    for one in result.spaces:
        table.add_row(one.name, one.title)
    return table


def search_space(result: spaces.SpaceSummary, space: Space) -> Iterator[RenderableType]:
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


def estimated(found: spaces.Estimate) -> Iterator[str]:
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
        )


def _values(parameter: spaces.SearchedParameter) -> str:
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


def _condition(parameter: spaces.SearchedParameter, space: Space) -> str:
    """Return the condition of a parameter, as far as it depends on what is searched."""
    parts = []
    for name, wanted in parameter.when.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if name in space.parameters:
            parts.append(f"{name} is {' or '.join(map(str, values))}")
        elif (fixed := getattr(space.fixed, name)) not in values:
            return f"never: {name} is {fixed}"
    return " and ".join(parts)


def best_model(model: models.BestModel) -> Group:
    """Return a model's metrics and recipe, and how it was chosen and trained."""
    record = read_record_of_model(model.folder)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("trial, epoch", f"{model.trial}, {model.epoch}")
    measured = model.validation.model_dump() if model.validation else {}
    if not measured:
        chosen = model.chosen_by
        value = "" if chosen.value is None else f"{chosen.value:.3f}"
        table.add_row(f"{chosen.objective} (target val)", value)
    for name, value in measured.items():
        ends = model.validation_ci95.get(name.removesuffix("_val"))
        shown = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
        table.add_row(f"{name} (target val)", f"{value:.3f}{shown}")
    for name, value in record["searched"].items():
        table.add_row(name, Text(short(value)))
    path = Text(str(model.model), no_wrap=True, overflow="ignore")
    return Group(path, table, *map(Text, _notes(model, record["objective"])))


def _notes(model: models.BestModel, objective: str) -> Iterator[str]:
    chosen = model.chosen_by
    if chosen.objective != objective:
        yield (
            f"chosen by {chosen.objective} {chosen.value:.4g}; its epoch is the one that "
            f"{objective}, the search's objective, chose"
        )
    if model.refit:
        yield (
            f"trained again for {model.refit.epochs} epochs on "
            f"{', '.join(model.refit.trained_on)}; the metrics are those of the search's model, it "
            "has seen the images they were measured on"
        )


def export(result: models.Export) -> Iterator[Text]:
    """Yield what was exported, and how it compared with its model."""
    yield sentence(
        f"{result.folder}, of trial {result.trial} ({result.model}), in {result.elapsed_s:.1f} s:"
    )
    for path in result.files:
        size = path.stat().st_size / 2**20
        yield sentence(f"    {path.name}" + (f", {size:.1f} MiB" if size >= 0.1 else ""))
    yield sentence(str(result.verification))


def predictions(
    result: models.Predictions, unreadable: Sequence[models.FilePrediction]
) -> list[str]:
    """Return which files could not be read, the first of them by name, and the count of images."""
    lines = [f"cannot be read: {one.path}: {one.error}" for one in unreadable]
    if (more := result.unreadable - len(unreadable)) > 0:
        lines.append(f"… and {more} more; their predictions have an error")
    done = f"{result.images - result.unreadable:,} images classified in {result.elapsed_s:.1f} s"
    skipped = f", {result.unreadable:,} cannot be read" if result.unreadable else ""
    lines.append(f"{done}{skipped}" + (f": {result.out}" if result.out else ""))
    return lines + ([rejection_line(result.rejection)] if result.rejection else [])


def rejection_line(found: models.Rejection) -> str:
    """Say how many images the model is too unsure of, and by which rule."""
    share = f" ({found.share:.0%})" if found.share is not None else ""
    return (
        f"{found.rejected:,} images{share} are below a probability of {found.threshold:.2f}, as "
        f"{found.source_share:.0%} of the source's validation images are: perhaps of other classes"
    )
