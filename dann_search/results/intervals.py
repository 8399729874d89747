"""95 % intervals of scores between 0 and 1: Wilson's, at the effective number of images.

Wilson's interval (1927) stays within [0, 1], contains the estimate, and has a width even if every
image was classified right. It is meant for a proportion of n images. For a macro average, n is the
*effective* number of images: that of a proportion with the same variance, mean (1 - mean) /
variance (Korn and Graubard 1998, for proportions in stratified samples). docs/models.md measures
how often it covers the truth.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Z = 1.959964
"""97.5 % quantile of the standard normal distribution."""
RESAMPLES = 1000
"""Resamples: enough for a variance within 10 % of the right one."""
CELLS = 5_000_000
"""Cells of confusion matrices drawn at once: about 100 MB, also for hundreds of classes."""
FIELDS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")


def wilson(value: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a proportion ``value`` of n images; n need not be whole."""
    shrunk = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(value * (1 - value) / n + Z**2 / (4 * n**2))
    # Rounding could exclude an estimate of 0 or 1.
    return min(value, max(0.0, shrunk - half)), max(value, min(1.0, shrunk + half))


def effective_images(value: float, variance: float, most: float) -> float:
    """Return the number of images whose proportion ``value`` has this variance, at most ``most``.

    The variance can be 0 though other images would vary: all are right, or each class has one.
    """
    spread = value * (1 - value)
    return min(most, spread / variance) if spread * variance > 0 else most


def macro_interval(value: float, variance: float, images: NDArray[np.int64]) -> tuple[float, float]:
    """Return the interval of a mean over classes, which is 0 for a class without images.

    If all images were equally likely to be right, a mean over C classes of n_c images would vary
    like a proportion of C² / (1/n_1 + … + 1/n_C) images: the effective number is at most that.

    Args:
        value: macro precision, recall or F1.
        variance: its sampling variance.
        images: number of images of each class, shape (classes,).
    """
    present = images[images > 0]
    share = len(present) / len(images)
    mean = min(1.0, value / share)
    most = len(present) ** 2 / float((1 / present).sum())
    low, high = wilson(mean, effective_images(mean, variance / share**2, most))
    return min(value, share * low), max(value, share * high)


def metric_intervals(confusion: NDArray[np.int64]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the four metrics, for test sets with as many images of each class.

    Accuracy has Wilson's interval; those of macro averages use their variance over resamples.
    """
    images, total = confusion.sum(1), int(confusion.sum())
    true, right = images.astype(np.float64), np.diagonal(confusion).astype(np.float64)
    values = _macro_averages(right, true, confusion.sum(0).astype(np.float64))
    variances = np.concatenate(list(_resampled(confusion))).var(0)
    macro = (
        macro_interval(float(value), float(variance), images)
        for value, variance in zip(values, variances, strict=True)
    )
    return dict(zip(FIELDS, (wilson(float(right.sum()) / total, total), *macro), strict=True))


def _resampled(confusion: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """Yield macro averages of resampled images in parts, shape (resamples, 3) together.

    Images are drawn within each class, as test splits are stratified. Drawing a class's images is
    drawing from its row of the confusion matrix. Of n images n - 1 are drawn, each with the weight
    n / (n - 1): drawing n would give too small a variance (Rao and Wu 1988), half for n = 2.
    """
    rng = np.random.default_rng(0)
    images = confusion.sum(1)
    drawn = np.where(images > 1, images - 1, images)
    chances = confusion / np.maximum(images, 1)[:, None]
    weights = images / np.maximum(drawn, 1)
    at_once = max(1, CELLS // confusion.size)
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        cells = rng.multinomial(drawn, chances, size=(count, len(images)))
        right = np.diagonal(cells, axis1=1, axis2=2) * weights
        predicted = np.einsum("rtp,t->rp", cells, weights)
        yield _macro_averages(right, np.broadcast_to(images, right.shape), predicted)


def _macro_averages(
    right: NDArray[np.float64], true: NDArray[np.float64], predicted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return precision, recall and F1 along the last axis, from counts of shape (…, classes)."""
    parts = ((right, predicted), (right, true), (2 * right, true + predicted))
    return np.stack([_ratio(part, whole).mean(-1) for part, whole in parts], axis=-1)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return part / whole, 0 where whole is 0, as scikit-learn's zero_division=0 does."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
