"""Intervals and p-values of differences over test images and seeds, by a paired bootstrap.

m methods with k seeds each are scored on the same n test images. Two things are random: which
images were drawn, and which seeds. Each resample therefore draws

- images with replacement within each class, the same ones for every method and seed (stratified:
  Davison and Hinkley 1997, section 3.2; paired: Koehn 2004), and, independently,
- k seeds with replacement, the same ones for every method: runs of one seed see their images in the
  same order, so they are pairs.

Copies of one content, such as one digit over several photographs, are one image here: they are
drawn together, as clusters (Davison and Hinkley, section 3.8).

The test split is stratified, so a resample keeps the size of each class: drawing from all images
would lose classes, which then count as F1 0. From a class of n images, n - 1 are drawn and weigh
n / (n - 1) each, because n draws out of n have only (n - 1) / n of the true variance (Rao and Wu
1988), half of it where n is 2. For the same reason the deviations of a mean over k seeds are
stretched by sqrt(k / (k - 1)).

Images and seeds are crossed, not nested: every seed is scored on every image. Resampling each side
independently is Owen's pigeonhole bootstrap (2007), which errs towards wide intervals. Macro-F1 is
not a mean over images, so resamples are biased against the measured score just as the score is
biased against the truth. They are therefore reflected about it (the basic bootstrap, Davison and
Hinkley, section 5.2). Shifting them instead would be overconfident where methods differ on one
image: a third of all resamples lack that image and would leave 0. docs/compare.md says how often
such intervals cover the truth.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dann_search.results.intervals import units_of

RESAMPLES = 2000
CELLS = 4_000_000
"""Counts held in memory at a time: larger test sets are resampled in several parts."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Resampled:
    """Where every method's mean over seeds may lie, one value per resample, (m, resamples)."""

    f1_macro: Floats
    accuracy: Floats


def percentile_interval(values: Floats) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of possible differences, shape (resamples,).

    They are clipped to [-1, 1], which stretched deviations may leave.
    """
    low, high = np.percentile(values, [2.5, 97.5]).clip(-1, 1)
    return float(low), float(high)


def resample(
    labels: Ints,
    predictions: Ints,
    classes: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
    groups: Ints | None = None,
) -> Resampled:
    """Score all methods on the same resamples of images and seeds.

    A class with one image cannot vary; the deviations of the others are stretched to make up for
    it, as if all images were equally hard. If no class has two images, they are drawn from all.

    Args:
        labels: labels of the test images, shape (n,).
        predictions: class of each method, seed and image, shape (m, k, n).
        classes: number of classes.
        resamples: number of resamples.
        seed: seed of the draws.
        groups: numbers of the images' contents, shape (n,); None where no two are alike.
    """
    rng = np.random.default_rng(seed)
    methods, seeds, n = predictions.shape
    runs = predictions.reshape(-1, n)
    units, unit_of = units_of(labels, groups)
    strata = units if np.bincount(units).max() > 1 else np.zeros_like(units)
    parts = [
        scores_on(labels, runs, classes, weights if groups is None else weights[unit_of])
        for weights in image_weights(rng, strata, resamples)
    ]
    observed = scores_on(labels, runs, classes, np.ones((n, 1)))
    drawn = rng.integers(0, seeds, (resamples, seeds))
    f1, accuracy = (
        over_seeds(
            reflected(mean, np.concatenate(part, axis=1), by).reshape(methods, seeds, resamples),
            drawn,
        )
        for mean, part, by in zip(observed, zip(*parts, strict=True), stretch(strata), strict=True)
    )
    return Resampled(f1, accuracy)


def stretch(strata: Ints) -> tuple[float, float]:
    """Return how much more macro averages and accuracy would vary if single images varied too."""
    sizes = np.unique(strata, return_counts=True)[1]
    vary = sizes[sizes > 1]
    macro, accuracy = (1 / sizes).sum() / (1 / vary).sum(), sizes.sum() / vary.sum()
    return float(np.sqrt(macro)), float(np.sqrt(accuracy))


def reflected(observed: Floats, resampled: Floats, by: float) -> Floats:
    """Return where the truth may lie: as far on the other side as resamples err, stretched.

    Args:
        observed: measured score of each run, shape (runs, 1).
        resampled: scores of its resamples, shape (runs, resamples).
        by: factor of the stretch.
    """
    possible: Floats = observed + (observed - resampled) * by
    return possible


def image_weights(rng: np.random.Generator, strata: Ints, resamples: int) -> Iterator[Floats]:
    """Yield the weight of each image in each resample, shape (n, resamples), in parts."""
    n = len(strata)
    _, sizes = np.unique(strata, return_counts=True)
    draws = np.maximum(sizes - 1, 1)
    stops = np.repeat(np.cumsum(sizes), draws)[:, None]
    starts = stops - np.repeat(sizes, draws)[:, None]
    order = np.argsort(strata, kind="stable")
    weight = np.empty((n, 1))
    weight[order, 0] = np.repeat(sizes / draws, sizes)
    part = max(1, CELLS // n)
    for start in range(0, resamples, part):
        size = min(part, resamples - start)
        rows = order[rng.integers(starts, stops, (len(stops), size))]
        cells = rows * size + np.arange(size)
        yield weight * np.bincount(cells.ravel(), minlength=n * size).reshape(n, size)


def scores_on(
    labels: Ints, predictions: Ints, classes: int, weights: Floats
) -> tuple[Floats, Floats]:
    """Return macro-F1 and accuracy of runs on weighted images.

    Args:
        labels: shape (n,).
        predictions: predicted classes of each run, shape (runs, n).
        classes: number of classes.
        weights: weight of each image in each resample, shape (n, resamples).

    Returns:
        Both of shape (runs, resamples).
    """
    true = _of_class(labels, classes) @ weights
    f1 = np.empty((len(predictions), weights.shape[1]))
    accuracy = np.empty_like(f1)
    for run, predicted in enumerate(predictions):
        hits = predicted == labels
        right = _of_class(labels, classes, hits) @ weights
        both = true + _of_class(predicted, classes) @ weights
        f1[run] = np.divide(2 * right, both, out=np.zeros(both.shape), where=both > 0).mean(0)
        accuracy[run] = right.sum(0) / true.sum(0)
    return f1, accuracy


def _of_class(members: Ints, classes: int, kept: NDArray[np.bool_] | None = None) -> csr_array:
    """Return which of the kept images belong to each class, shape (classes, n)."""
    columns = np.arange(len(members)) if kept is None else np.flatnonzero(kept)
    ones = np.ones(len(columns), dtype=np.int64)
    return csr_array((ones, (members[columns], columns)), shape=(classes, len(members)))


def over_seeds(scores: Floats, drawn: Ints) -> Floats:
    """Average over the drawn seeds, and stretch the distance from the mean over all seeds.

    Args:
        scores: shape (m, k, resamples).
        drawn: indices of seeds, shape (resamples, k).

    Returns:
        Shape (m, resamples).
    """
    seeds = scores.shape[1]
    everyone = scores.mean(1)
    mean = np.take_along_axis(scores, drawn.T[None], axis=1).mean(1)
    stretched: Floats = everyone + (mean - everyone) * np.sqrt(seeds / (seeds - 1))
    return stretched


def p_value(differences: Floats) -> float:
    """Return twice the smaller share of resamples at or beyond 0, at least 2 / (B + 1).

    This inverts the percentile interval: up to one or two resamples, p is below 0.05 exactly where
    the 95 % interval excludes 0.
    """
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * (1 + int(beyond)) / (1 + len(differences)))
