"""What predictions are worth: point estimates, intervals, classes, confusion, calibration."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from dann_search.evaluation.calibration import Calibration, measure_calibration
from dann_search.evaluation.confusion import MOST_NUMBERED, frequent_mistakes
from dann_search.results.intervals import FIELDS, metric_intervals
from dann_search.training.metrics import classification_metrics

WORST = 20
"""Classes in the table where a model has more than fit into the picture of the confusion matrix."""


@dataclass(frozen=True)
class ClassScore:
    """One class: its scores and its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one model on one labelled set.

    Attributes:
        split: ``test``, or the folder evaluated.
        n: images.
        accuracy, precision_macro, recall_macro, f1_macro: over all classes of the model.
        ci95: of each, the 95 % interval over images, at these numbers of images by class.
        per_class: in label order.
        confusion: rows true, columns predicted.
        calibration: of the model's probabilities; None where only classes were predicted.
        uncalibrated: the same without its temperature, where it has one.
        model, trial, epoch: folder of the model, and whose weights it holds; None where
            predictions were scored without one.
        warning: of a temperature that was fitted just now; empty where there is none.
        notices: of what was not written beside the result, or is not as it should be.
    """

    split: str
    n: int
    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    ci95: dict[str, tuple[float, float]]
    per_class: list[ClassScore]
    confusion: list[list[int]]
    calibration: Calibration | None = None
    uncalibrated: Calibration | None = None
    model: str | None = None
    trial: int | None = None
    epoch: int | None = None
    warning: str = ""
    notices: tuple[str, ...] = ()

    @property
    def absent_classes(self) -> list[str]:
        """Classes without an image here: they count as 0 in the macro averages."""
        return [one.name for one in self.per_class if one.n == 0]

    def to_json(self) -> dict[str, Any]:
        """As ``evaluate --json`` prints it."""
        content = asdict(self)
        for name in ("calibration", "uncalibrated", "warning", "notices"):
            del content[name]
        content["ci95"] = {name: list(ends) for name, ends in self.ci95.items()}
        for row in content["per_class"]:
            row["class"] = row.pop("name")
        content["absent_classes"] = self.absent_classes
        if self.calibration:
            content |= self.calibration.to_json()
        before = self.uncalibrated
        content["uncalibrated"] = before and {
            name: getattr(before, name) for name in ("ece", "nll", "brier")
        }
        return content

    def render(self) -> Group:
        """The tables people read."""
        what = Text(f"{self.split}, {self.n} images")
        head = Table(box=None, pad_edge=False)
        head.add_column(what)
        for name in ("", "95 % interval"):
            head.add_column(name, justify="right")
        for name in FIELDS:
            low, high = self.ci95[name]
            label = name.replace("_", " ")
            head.add_row(label, f"{getattr(self, name):.3f}", f"{low:.3f} to {high:.3f}")
        parts: list[RenderableType] = [head, "", *self._classes(), *map(Text, self._notes())]
        if self.model is None:
            return Group(*parts)
        whose = Text(f"trial {self.trial}, epoch {self.epoch}: {self.model}", overflow="fold")
        return Group(whose, "", *parts)

    def _classes(self) -> list[RenderableType]:
        """All classes where they are few, else the worst and the most frequent mistakes."""
        few = len(self.per_class) <= MOST_NUMBERED
        shown = self.per_class if few else worst_classes(self.per_class)
        table = Table(box=None, pad_edge=False)
        for name in ("class", "precision", "recall", "F1", "images"):
            table.add_column(name, justify="left" if name == "class" else "right")
        for one in shown:
            scores = (f"{value:.3f}" for value in (one.precision, one.recall, one.f1))
            # As Text: a class may be called "[bold]" or ":dog:".
            table.add_row(Text(one.name), *scores, str(one.n))
        if few:
            return [table]
        count = len(self.per_class)
        above = Text(f"the {len(shown)} of {count} classes with the lowest F1; all: add --json")
        return [above, table, "", *self._mistakes()]

    def _mistakes(self) -> list[RenderableType]:
        found = frequent_mistakes(self.confusion, [one.name for one in self.per_class])
        table = Table(box=None, pad_edge=False)
        for name in ("most frequent mistakes", "taken for"):
            table.add_column(name)
        for name in ("images", "of the class"):
            table.add_column(name, justify="right")
        for one in found:
            table.add_row(Text(one.true), Text(one.predicted), str(one.n), f"{one.share:.0%}")
        return [table] if found else []

    def _notes(self) -> list[str]:
        notes, now, before = [], self.calibration, self.uncalibrated
        if now:
            ece, nll = f"{now.ece:.3f}", f"{now.nll:.3f}"
            state = "not calibrated: --calibrated"
            if before:
                ece, nll = f"{ece} (before {before.ece:.3f})", f"{nll} (before {before.nll:.3f})"
                state = f"calibrated on target val, temperature {now.temperature:.2f}"
            notes.append(
                f"expected calibration error {ece}, negative log-likelihood {nll}; {state}"
            )
        if self.warning:
            notes.append(f"careful: {self.warning}")
        notes += [f"note: {notice}" for notice in self.notices]
        if absent := self.absent_classes:
            shown = ", ".join(absent[:10]) + (" …" if len(absent) > 10 else "")
            notes.append(
                f"{len(absent)} of the model's {len(self.per_class)} classes have no image here "
                f"and count as 0 in the macro averages: {shown}"
            )
        return ["", *notes] if notes else []


def worst_classes(per_class: Sequence[ClassScore], most: int = WORST) -> list[ClassScore]:
    """Return the classes of lowest F1, the lowest first, of those that have images."""
    return sorted((one for one in per_class if one.n), key=lambda one: one.f1)[:most]


def score(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], names: list[str], split: str
) -> Evaluation:
    """Metrics and intervals of predictions, both arrays of shape (n,)."""
    classes = len(names)
    confusion = confusion_matrix(labels, predictions, labels=range(classes))
    parts = precision_recall_fscore_support(
        labels, predictions, labels=range(classes), zero_division=0
    )
    return Evaluation(
        split=split,
        n=len(labels),
        **asdict(classification_metrics(labels, predictions, classes)),
        ci95=metric_intervals(confusion),
        per_class=[
            ClassScore(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(names, *parts, strict=True)
        ],
        confusion=confusion.tolist(),
    )


def score_logits(
    labels: NDArray[np.int64],
    logits: NDArray[np.float64],
    names: list[str],
    split: str,
    temperature: float = 1.0,
) -> Evaluation:
    """``score`` of the largest logits (n, classes), and how calibrated they are."""
    return replace(
        score(labels, logits.argmax(1), names, split),
        calibration=measure_calibration(logits, labels, temperature),
        uncalibrated=measure_calibration(logits, labels) if temperature != 1 else None,
    )
