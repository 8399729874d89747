"""Models as people read them: the best one, an export, predictions."""

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dann_search.cli.app import sentence
from dann_search.inference.model_files import read_record_of_model
from dann_search.outputs.models import BestModel, Export, FilePrediction, Predictions, Rejection
from dann_search.results.lines import short


def best_table(model: BestModel) -> Group:
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


def _notes(model: BestModel, objective: str) -> Iterator[str]:
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


def export_lines(result: Export) -> Iterator[Text]:
    """Yield what was exported, and how it compared with its model."""
    yield sentence(
        f"{result.folder}, of trial {result.trial} ({result.model}), in {result.elapsed_s:.1f} s:"
    )
    for path in result.files:
        size = path.stat().st_size / 2**20
        yield sentence(f"    {path.name}" + (f", {size:.1f} MiB" if size >= 0.1 else ""))
    yield sentence(str(result.verification))


def prediction_lines(result: Predictions, unreadable: Sequence[FilePrediction]) -> list[str]:
    """Return which files could not be read, the first of them by name, and the count of images."""
    lines = [f"cannot be read: {one.path}: {one.error}" for one in unreadable]
    if (more := result.unreadable - len(unreadable)) > 0:
        lines.append(f"… and {more} more; their predictions have an error")
    done = f"{result.images - result.unreadable:,} images classified in {result.elapsed_s:.1f} s"
    skipped = f", {result.unreadable:,} cannot be read" if result.unreadable else ""
    lines.append(f"{done}{skipped}" + (f": {result.out}" if result.out else ""))
    return lines + ([rejection_line(result.rejection)] if result.rejection else [])


def rejection_line(found: Rejection) -> str:
    """Say how many images the model is too unsure of, and by which rule."""
    share = f" ({found.share:.0%})" if found.share is not None else ""
    return (
        f"{found.rejected:,} images{share} are below a probability of {found.threshold:.2f}, as "
        f"{found.source_share:.0%} of the source's validation images are: perhaps of other classes"
    )
