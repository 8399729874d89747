"""One method's scores on the target's test split: over seeds, by class, against the winner."""

import itertools
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from dann_search.evaluation.paired_bootstrap import (
    RESAMPLES,
    Floats,
    Ints,
    p_value,
    percentile_interval,
    resample,
)
from dann_search.outputs.comparison import ClassSpread, Difference, MethodScores, Part, Spread
from dann_search.results.intervals import effective_images, macro_interval, units_of, wilson
from dann_search.training.metrics import classification_metrics


def score_methods(
    labels: Ints,
    predictions: Mapping[str, Ints],
    class_names: Sequence[str],
    winner: str,
    resamples: int = RESAMPLES,
    steps: Sequence[str] = (),
    groups: Ints | None = None,
) -> dict[str, MethodScores]:
    """Score every method, with intervals and the winner's difference from each other method.

    Args:
        labels: labels of the test images, shape (n,).
        predictions: predicted classes by method, each of shape (k, n), a row per seed.
        class_names: in label order.
        winner: the method that the others are compared with, if it is among them.
        resamples: resamples of images and seeds.
        steps: methods each of which adds something to the one before it.
        groups: numbers of the images' contents, shape (n,); None where no two are alike.
    """
    names = list(predictions)
    stacked = np.stack([predictions[name] for name in names])
    drawn = resample(labels, stacked, len(class_names), resamples, groups=groups)
    chance = {
        name: {"f1_macro": drawn.f1_macro[row], "accuracy": drawn.accuracy[row]}
        for row, name in enumerate(names)
    }
    units, _ = units_of(labels, groups)
    plain = {
        name: _scores(labels, predictions[name], class_names, chance[name], units) for name in names
    }

    def difference(one: str, other: str, score: str) -> Difference:
        mine, theirs = (getattr(plain[name], f"{score}_test").values for name in (one, other))
        # Means of the same values in another order differ in the last digit: no difference.
        gaps = np.round(chance[one][score] - chance[other][score], 12)
        by_seed = spread(
            [a - b for a, b in zip(mine, theirs, strict=True)], percentile_interval(gaps)
        )
        return Difference(**dict(by_seed), p_value=p_value(gaps))

    found = dict(plain)
    for name in plain.keys() - {winner} if winner in plain else ():
        leads = {score: difference(winner, name, score) for score in chance[name]}
        found[name] = found[name].model_copy(update={"difference": leads})
    for before, name in itertools.pairwise(steps):
        part = Part(over=before, f1_macro=difference(name, before, "f1_macro"))
        found[name] = found[name].model_copy(update={"part": part})
    return found


def spread(values: Sequence[float], ci95: tuple[float, float] | None = None) -> Spread:
    """Summarize a score that has one value per seed."""
    return Spread(
        mean=statistics.fmean(values), sd=statistics.stdev(values), values=list(values), ci95=ci95
    )


def _scores(
    labels: Ints,
    predictions: Ints,
    class_names: Sequence[str],
    chance: dict[str, Floats],
    units: Ints,
) -> MethodScores:
    runs = [classification_metrics(labels, run, len(class_names)) for run in predictions]
    images, drawn = (np.bincount(one, minlength=len(class_names)) for one in (labels, units))

    def values(name: str) -> list[float]:
        return [getattr(run, name) for run in runs]

    def with_interval(name: str) -> Spread:
        mean, variance = statistics.fmean(values(name)), float(chance[name].var())
        if name == "accuracy":
            ends = wilson(mean, effective_images(mean, variance, len(labels), len(units)))
        else:
            ends = macro_interval(mean, variance, images, drawn)
        return spread(values(name), ends)

    return MethodScores(
        f1_macro_test=with_interval("f1_macro"),
        accuracy_test=with_interval("accuracy"),
        precision_macro_test=spread(values("precision_macro")),
        recall_macro_test=spread(values("recall_macro")),
        per_class=_by_class(labels, predictions, class_names),
        difference={},
        part=None,
        same_as=None,
        runs=[],
        tuned=None,
    )


def _by_class(labels: Ints, predictions: Ints, class_names: Sequence[str]) -> list[ClassSpread]:
    # (seeds, 4, classes): precision, recall, F1, images.
    parts = np.array(
        [
            precision_recall_fscore_support(
                labels, run, labels=range(len(class_names)), zero_division=0
            )
            for run in predictions
        ]
    )
    means, deviations = parts.mean(0), parts.std(0, ddof=1)
    return [
        ClassSpread(
            **{"class": name},
            n=int(parts[0, 3, label]),
            precision=float(means[0, label]),
            recall=float(means[1, label]),
            f1=float(means[2, label]),
            f1_sd=float(deviations[2, label]),
        )
        for label, name in enumerate(class_names)
    ]
