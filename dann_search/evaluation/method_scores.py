"""One method's scores on the target's test split: over seeds, by class, against the winner."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from dann_search.evaluation.paired_bootstrap import (
    RESAMPLES,
    Floats,
    Interval,
    Ints,
    p_value,
    resample,
)
from dann_search.results.intervals import effective_images, macro_interval, wilson
from dann_search.training.metrics import classification_metrics


@dataclass(frozen=True)
class Values:
    """A score, one value a seed, and the interval of their mean over images and seeds."""

    values: list[float]
    ci95: Interval | None = None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float:
        """Standard deviation over seeds."""
        return statistics.stdev(self.values)

    def to_json(self) -> dict[str, Any]:
        """Mean, sd, values and interval, which is null where it was not measured."""
        ends = [self.ci95.low, self.ci95.high] if self.ci95 else None
        return {"mean": self.mean, "sd": self.sd, "values": self.values, "ci95": ends}

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.sd:.3f}"


@dataclass(frozen=True)
class Difference(Values):
    """The winner's score minus a method's, seed by seed."""

    p: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """As ``Values``, with the p-value."""
        return super().to_json() | {"p_value": self.p}

    def __str__(self) -> str:
        assert self.ci95 is not None
        return f"{self.mean:+.3f} ({self.ci95.low:+.3f}, {self.ci95.high:+.3f})"


@dataclass(frozen=True)
class ClassScores:
    """One class: its images, and its scores, one value a seed."""

    name: str
    n: int
    precision: Values
    recall: Values
    f1: Values

    def to_json(self) -> dict[str, Any]:
        """Means over seeds, and the deviation of F1."""
        return {
            "class": self.name,
            "n": self.n,
            "precision": self.precision.mean,
            "recall": self.recall.mean,
            "f1": self.f1.mean,
            "f1_sd": self.f1.sd,
        }


@dataclass(frozen=True)
class Scores:
    """One method's scores.

    Attributes:
        f1_macro, accuracy, precision_macro, recall_macro: on the target's test split.
        per_class: in label order.
        difference: of the winner and this method, by score; empty for the winner, and where it is
            not compared.
        same_as: the method whose runs these are, where both recipes come to the same.
        runs: folders of its trainings beside comparison.json, one a seed.
    """

    f1_macro: Values
    accuracy: Values
    precision_macro: Values
    recall_macro: Values
    per_class: list[ClassScores] = field(default_factory=list)
    difference: dict[str, Difference] = field(default_factory=dict)
    same_as: str | None = None
    runs: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        return {
            "f1_macro_test": self.f1_macro.to_json(),
            "accuracy_test": self.accuracy.to_json(),
            "precision_macro_test": self.precision_macro.to_json(),
            "recall_macro_test": self.recall_macro.to_json(),
            "per_class": [one.to_json() for one in self.per_class],
            "difference": {name: one.to_json() for name, one in self.difference.items()},
            "same_as": self.same_as,
            "runs": self.runs,
        }


def score_methods(
    labels: Ints,
    predictions: Mapping[str, Ints],
    class_names: list[str],
    winner: str,
    resamples: int = RESAMPLES,
) -> dict[str, Scores]:
    """Every method's scores, with intervals, and the winner's distance from each other one.

    Args:
        labels: of the test images, shape (n,).
        predictions: classes by method, each of shape (k, n), a row a seed.
        class_names: in label order.
        winner: the method that the others are held against, if it is among them.
        resamples: of images and seeds.
    """
    names = list(predictions)
    stacked = np.stack([predictions[name] for name in names])
    drawn = resample(labels, stacked, len(class_names), resamples)
    chance = {
        name: {"f1_macro": drawn.f1_macro[row], "accuracy": drawn.accuracy[row]}
        for row, name in enumerate(names)
    }
    plain = {name: _scores(labels, predictions[name], class_names, chance[name]) for name in names}
    if winner not in plain:
        return plain
    return {
        name: scores
        if name == winner
        else _against(plain[winner], chance[winner], scores, chance[name])
        for name, scores in plain.items()
    }


def _scores(
    labels: Ints, predictions: Ints, class_names: list[str], chance: dict[str, Floats]
) -> Scores:
    runs = [classification_metrics(labels, run, len(class_names)) for run in predictions]
    images = np.bincount(labels, minlength=len(class_names))

    def values(name: str) -> Values:
        return Values([getattr(run, name) for run in runs])

    def known(name: str) -> Values:
        found, variance = values(name), float(chance[name].var())
        if name == "accuracy":
            ends = wilson(found.mean, effective_images(found.mean, variance, len(labels)))
        else:
            ends = macro_interval(found.mean, variance, images)
        return replace(found, ci95=Interval(*ends))

    return Scores(
        f1_macro=known("f1_macro"),
        accuracy=known("accuracy"),
        precision_macro=values("precision_macro"),
        recall_macro=values("recall_macro"),
        per_class=_by_class(labels, predictions, class_names),
    )


def _by_class(labels: Ints, predictions: Ints, class_names: list[str]) -> list[ClassScores]:
    # (seeds, 4, classes): precision, recall, F1, images.
    parts = np.array(
        [
            precision_recall_fscore_support(
                labels, run, labels=range(len(class_names)), zero_division=0
            )
            for run in predictions
        ]
    )
    return [
        ClassScores(
            name,
            int(parts[0, 3, label]),
            *(Values(parts[:, part, label].tolist()) for part in range(3)),
        )
        for label, name in enumerate(class_names)
    ]


def _against(
    winner: Scores, of_winner: dict[str, Floats], other: Scores, of_other: dict[str, Floats]
) -> Scores:
    """``other`` with the winner's distance from it."""
    difference = {}
    for name in of_other:
        mine, its = getattr(winner, name).values, getattr(other, name).values
        # Means of the same values in another order differ in the last digit: no difference.
        gaps = np.round(of_winner[name] - of_other[name], 12)
        difference[name] = Difference(
            [a - b for a, b in zip(mine, its, strict=True)], Interval.of(gaps), p_value(gaps)
        )
    return replace(other, difference=difference)
