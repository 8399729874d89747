"""Score predictions: point estimates, intervals, classes, confusion matrix, calibration."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from dann_search.evaluation.calibration import calibration_error, reliability, to_probabilities
from dann_search.outputs.models import Measurement, Scores
from dann_search.outputs.shared import ClassRow, MetricIntervals, PresentClasses
from dann_search.results.intervals import metric_intervals
from dann_search.training.metrics import classification_metrics


def score(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    names: Sequence[str],
    split: str,
    groups: NDArray[np.int64] | None = None,
) -> Scores:
    """Score predicted classes (n,) against labels (n,), with ``names`` in label order.

    ``groups`` numbers the images' contents, shape (n,); None where no two are alike.
    """
    classes = len(names)
    confusion = confusion_matrix(labels, predictions, labels=range(classes))
    # (4, classes): precision, recall, F1, images.
    parts = precision_recall_fscore_support(
        labels, predictions, labels=range(classes), zero_division=0
    )
    per_class = [
        ClassRow(
            **{"class": name},
            n=int(n),
            precision=float(precision),
            recall=float(recall),
            f1=float(f1),
        )
        for name, precision, recall, f1, n in zip(names, *parts, strict=True)
    ]
    metrics = asdict(classification_metrics(labels, predictions, classes))
    ends = metric_intervals(labels, predictions, classes, groups)
    return Scores(
        **metrics,
        split=split,
        n=len(labels),
        ci95=MetricIntervals(**ends),
        present=PresentClasses.of(metrics, ends, confusion.sum(1).tolist()),
        per_class=per_class,
        absent_classes=[one.name for one in per_class if one.n == 0],
        confusion=confusion.tolist(),
    )


def score_logits(
    labels: NDArray[np.int64],
    logits: NDArray[np.float64],
    names: Sequence[str],
    split: str,
    temperature: float = 1.0,
    groups: NDArray[np.int64] | None = None,
) -> Measurement:
    """Score the largest logits (n, classes) as ``score`` does, and how calibrated they are."""
    return Measurement(
        **dict(score(labels, logits.argmax(1), names, split, groups)),
        **dict(calibration_error(logits, labels, temperature)),
        temperature=temperature,
        reliability=reliability(to_probabilities(logits, temperature), labels),
        uncalibrated=calibration_error(logits, labels) if temperature != 1 else None,
    )


def worst_classes(per_class: Sequence[ClassRow], most: int) -> list[ClassRow]:
    """Return the classes of lowest F1, lowest first, among those that have images."""
    return sorted((one for one in per_class if one.n), key=lambda one: one.f1)[:most]
