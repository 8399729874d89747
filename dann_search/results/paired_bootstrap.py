"""Intervals and p-values of scores over test images and seeds, by a paired bootstrap.

The scores of m methods with k seeds each are known on the same n test images. Chance enters twice:
other images would have been drawn, and other seeds. A resample therefore draws

- n images with replacement, the same ones for every method and seed (Efron and Tibshirani 1993,
  chapter 13; paired as in Koehn 2004), and, independently of them,
- k seeds with replacement, the same ones for every method: runs of one seed see their images in the
  same order, so they are pairs.

Images and seeds are crossed, not nested: every seed is scored on every image. Resampling both sides
on their own is Owen's pigeonhole bootstrap (2007), which errs on the side of wide intervals. Only
the mean of k seeds drawn from k has (k - 1) / k of the variance it should have; its deviations are
therefore stretched by sqrt(k / (k - 1)) (Rao and Wu 1988), which matters with two or three seeds.
How often such intervals cover the truth: docs/compare.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

RESAMPLES = 2000
CELLS = 4_000_000
"""Counts held at a time: larger test sets are resampled in several parts."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """The 2.5 and 97.5 percentiles over resamples."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> "Interval":
        """Of resampled values, shape (resamples,)."""
        low, high = np.percentile(values, [2.5, 97.5])
        return cls(float(low), float(high))


@dataclass(frozen=True)
class Resampled:
    """Scores of every method in every resample, means over its seeds, shape (m, resamples)."""

    f1_macro: Floats
    accuracy: Floats


def resample(
    labels: Ints, predictions: Ints, classes: int, resamples: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """Score all methods on the same resamples of images and seeds.

    A class with neither labels nor predictions in a resample counts as F1 0, as it does in
    ``classification_metrics``.

    Args:
        labels: of the test images, shape (n,).
        predictions: class of each method, seed and image, shape (m, k, n).
        classes: their number.
        resamples: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    methods, seeds, n = predictions.shape
    parts = [
        scores_on(labels, predictions.reshape(-1, n), classes, counts)
        for counts in image_counts(rng, n, resamples)
    ]
    drawn = rng.integers(0, seeds, (resamples, seeds))
    f1, accuracy = (
        over_seeds(np.concatenate(part, axis=1).reshape(methods, seeds, resamples), drawn)
        for part in zip(*parts, strict=True)
    )
    return Resampled(f1, accuracy)


def image_counts(rng: np.random.Generator, n: int, resamples: int) -> Iterator[Ints]:
    """How often each image is in each resample, shape (n, resamples), in parts."""
    part = max(1, CELLS // n)
    for start in range(0, resamples, part):
        size = min(part, resamples - start)
        cells = rng.integers(0, n, (n, size)) * size + np.arange(size)
        yield np.bincount(cells.ravel(), minlength=n * size).reshape(n, size)


def scores_on(labels: Ints, predictions: Ints, classes: int, counts: Ints) -> tuple[Floats, Floats]:
    """Macro-F1 and accuracy of runs on images counted so often.

    Args:
        labels: shape (n,).
        predictions: of each run, shape (runs, n).
        classes: their number.
        counts: of each image in each resample, shape (n, resamples).

    Returns:
        Both of shape (runs, resamples).
    """
    n = len(labels)
    true = _of_class(labels, classes) @ counts
    f1 = np.empty((len(predictions), counts.shape[1]))
    accuracy = np.empty_like(f1)
    for run, predicted in enumerate(predictions):
        hits = predicted == labels
        right = _of_class(labels, classes, hits) @ counts
        both = true + _of_class(predicted, classes) @ counts
        f1[run] = np.divide(2 * right, both, out=np.zeros(both.shape), where=both > 0).mean(0)
        accuracy[run] = right.sum(0) / n
    return f1, accuracy


def _of_class(members: Ints, classes: int, kept: NDArray[np.bool_] | None = None) -> csr_array:
    """Which images belong to each class, shape (classes, n), of the kept ones."""
    columns = np.arange(len(members)) if kept is None else np.flatnonzero(kept)
    ones = np.ones(len(columns), dtype=np.int64)
    return csr_array((ones, (members[columns], columns)), shape=(classes, len(members)))


def over_seeds(scores: Floats, drawn: Ints) -> Floats:
    """Mean over the drawn seeds, its distance from the mean over all stretched.

    Args:
        scores: shape (m, k, resamples).
        drawn: numbers of seeds, shape (resamples, k).

    Returns:
        Shape (m, resamples).
    """
    seeds = scores.shape[1]
    everyone = scores.mean(1)
    mean = np.take_along_axis(scores, drawn.T[None], axis=1).mean(1)
    stretched: Floats = everyone + (mean - everyone) * np.sqrt(seeds / (seeds - 1))
    return stretched


def p_value(differences: Floats) -> float:
    """Two-sided: twice the smaller share of resamples at or beyond 0, never below 2 / (B + 1).

    This inverts the percentile interval: p falls below 0.05 where the 95 % interval leaves out 0,
    but for one or two resamples.
    """
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * (1 + int(beyond)) / (1 + len(differences)))
