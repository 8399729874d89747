"""Tables that people read on the terminal: evaluations, comparisons, reports."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dann_search.cli.model_tables import rejection_line
from dann_search.cli.tables import columns
from dann_search.errors import counted
from dann_search.evaluation.comparison import notes
from dann_search.evaluation.comparison_tables import JSON
from dann_search.evaluation.confusion import MOST_NUMBERED, frequent_mistakes
from dann_search.evaluation.scoring import worst_classes
from dann_search.outputs.comparison import Comparison
from dann_search.outputs.models import Evaluation
from dann_search.outputs.report import Report
from dann_search.results.intervals import FIELDS
from dann_search.storage.layout import ExperimentFolder

WORST = 20
"""Classes in the table of a model with more classes than fit into the confusion matrix."""


def evaluation_table(
    result: Evaluation, remarks: Sequence[str] = (), *, labelled: bool = True
) -> Group:
    """Draw an evaluation: metrics, classes, calibration and remarks on how it was made.

    Without ``labelled`` validation images of the target there is nothing to calibrate on.
    """
    whose = Text(f"trial {result.trial}, epoch {result.epoch}: {result.model}", overflow="fold")
    head = columns(f"{result.split}, {counted(result.n, 'image')}", "", "95 % interval")
    for name in FIELDS:
        low, high = result.ci95[name]
        value = f"{getattr(result, name):.3f}"
        head.add_row(name.replace("_", " "), value, f"{low:.3f} to {high:.3f}")
    below = [_calibration(result, labelled), *(f"note: {one}" for one in remarks), *_absent(result)]
    below += [rejection_line(result.rejection)] if result.rejection else []
    return Group(whose, "", head, "", *_classes(result), "", *map(Text, below))


def _classes(result: Evaluation) -> list[RenderableType]:
    """Draw all classes if they are few, else the worst and the most frequent mistakes."""
    count = len(result.per_class)
    few = count <= MOST_NUMBERED
    shown = result.per_class if few else worst_classes(result.per_class, WORST)
    table = columns("class", "precision", "recall", "F1", "images")
    for one in shown:
        values = (one.precision, one.recall, one.f1)
        scores = (f"{value:.3f}" if one.n else "–" for value in values)
        # As Text: a class may be called "[bold]" or ":dog:".
        table.add_row(Text(one.name), *scores, str(one.n))
    if few:
        return [table]
    above = Text(f"the {len(shown)} of {count} classes with the lowest F1; all: add --json")
    mistakes = columns("most frequent mistakes", "taken for", "images", "of the class", left=2)
    for wrong in frequent_mistakes(result.confusion, [one.name for one in result.per_class]):
        cells = (Text(wrong.true), Text(wrong.predicted))
        mistakes.add_row(*cells, str(wrong.n), f"{wrong.share:.0%}")
    return [above, table, "", mistakes] if mistakes.row_count else [above, table]


def _calibration(result: Evaluation, labelled: bool) -> str:
    before = result.uncalibrated
    state = "not calibrated: --calibrated" if labelled else "not calibrated"
    ece, nll = f"{result.ece:.3f}", f"{result.nll:.3f}"
    if before:
        ece, nll = f"{ece} (before {before.ece:.3f})", f"{nll} (before {before.nll:.3f})"
        state = f"calibrated on target val, temperature {result.temperature:.2f}"
    return f"expected calibration error {ece}, negative log-likelihood {nll}; {state}"


def _absent(result: Evaluation) -> list[str]:
    """Say which classes have no image, and what the macro averages are without them."""
    absent, present = result.absent_classes, result.present
    if not absent:
        return []
    shown = ", ".join(absent[:10]) + (" …" if len(absent) > 10 else "")
    low, high = present.ci95["f1_macro"]
    have, count = ("has", "counts") if len(absent) == 1 else ("have", "count")
    return [
        f"{len(absent)} of the model's {len(result.per_class)} classes {have} no images here and "
        f"{count} as 0 in the macro averages above: {shown}",
        f"over the {counted(present.classes, 'class', 'classes')} with images: macro-F1 "
        f"{present.f1_macro:.3f} ({low:.3f} to {high:.3f}), precision "
        f"{present.precision_macro:.3f}, recall "
        f"{present.recall_macro:.3f}",
    ]


def comparison_table(result: Comparison, folder: ExperimentFolder) -> Group:
    """Draw a comparison, 79 columns wide."""
    names = ("method", "macro-F1", "accuracy", f"{result.winner} minus it", "p")
    table = columns(*names, no_wrap=True)
    for name, scores in result.methods.items():
        gap = scores.lead
        # Three decimals: the smallest p of 2,000 resamples is 0.001.
        cells = (str(gap), f"{gap.p_value:.3f}") if gap else ("", "")
        table.add_row(name, str(scores.f1_macro_test), str(scores.accuracy_test), *cells)
    head = (
        f"target test, {counted(result.n_test, 'image')}, {counted(len(result.seeds), 'seed')}: "
        f"mean ± deviation; "
        f"winner: {result.winner}, trial {result.trial}"
    )
    lines = Table.grid(padding=(0, 1))
    for note in notes(result):
        lines.add_row("-", Text(note))
    place = f"{folder}/{folder.compare.name}/{JSON}"
    more = f"{place}, .csv, .md, .tex: precision, recall, every class"
    return Group(Text(head), table, "", Text(result.verdict), lines, Text(more))


def report_table(result: Report) -> Group:
    """Draw where a report lies and its key numbers."""
    file = Text(result.report, no_wrap=True, overflow="ignore")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("size", f"{result.bytes / 1e6:.1f} MB")
    if result.figures:
        table.add_row("figures", f"{len(result.figures)} files in {Path(result.figures[0]).parent}")
    table.add_row("best", f"trial {result.trial}")
    if result.f1_macro_val is not None:
        table.add_row("macro-F1, target val", f"{result.f1_macro_val:.3f}")
    if test := result.test:
        low, high = test.ci95.f1_macro
        text = f"{test.f1_macro:.3f}, 95 % interval {low:.3f} to {high:.3f}"
        table.add_row("macro-F1, target test", text)
    return Group(file, table, *(Text(f"note: {note}", overflow="fold") for note in result.notes))
