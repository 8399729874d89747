"""95 % intervals of scores between 0 and 1: Wilson's, at the effective number of images.

Wilson's interval (1927) stays within [0, 1], contains the estimate, and has a width even if every
image was classified right. It is meant for a proportion of n images. For a macro average, n is the
*effective* number of images: that of a proportion with the same variance, mean (1 - mean) /
variance (Korn and Graubard 1998, for proportions in stratified samples). docs/models.md measures
how often it covers the truth.

Copies of one content are right or wrong together more often than other images: they are drawn
together (a cluster bootstrap, Davison and Hinkley 1997, section 3.8), or n would count them as so
many different images.
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


def units_of(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return what is drawn as one: images, or all copies of a content under one label.

    Args:
        labels: of the images, shape (n,).
        groups: numbers of their contents, shape (n,); None where no two are alike.

    Returns:
        The label of each unit, and the unit of each image, shape (n,).
    """
    if groups is None:
        return labels, np.arange(len(labels))
    pairs, unit_of = np.unique(np.stack([labels, groups]), axis=1, return_inverse=True)
    return pairs[0], unit_of.reshape(-1)


def effective_images(
    value: float, variance: float, most: float, units: float | None = None
) -> float:
    """Return the number of images whose proportion ``value`` has this variance, at most ``most``.

    The variance can be 0 though other images would vary: all are right, or each class has one.
    Then it is that of the ``units`` that are drawn as one, by default each image.
    """
    spread = value * (1 - value)
    if spread * variance > 0:
        return min(most, spread / variance)
    return most if units is None else units


def macro_interval(
    value: float, variance: float, images: NDArray[np.int64], units: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Return the interval of a mean over classes, which is 0 for a class without images.

    If all images were equally likely to be right, a mean over C classes of n_c images would vary
    like a proportion of C² / (1/n_1 + … + 1/n_C) images: the effective number is at most that.

    Args:
        value: macro precision, recall or F1.
        variance: its sampling variance.
        images: number of images of each class, shape (classes,).
        units: number of units of each class that are drawn as one; by default each image.
    """
    share = float((images > 0).mean())
    mean = min(1.0, value / share)
    most, least = (_most(one) for one in (images, images if units is None else units))
    low, high = wilson(mean, effective_images(mean, variance / share**2, most, least))
    return min(value, share * low), max(value, share * high)


def _most(images: NDArray[np.int64]) -> float:
    present = images[images > 0]
    return len(present) ** 2 / float((1 / present).sum())


def metric_intervals(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    classes: int,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the four metrics, for test sets with as many images of each class.

    Accuracy has Wilson's interval; those of macro averages use their variance over resamples, and
    so does accuracy where images have copies.

    Args:
        labels: of the images, shape (n,).
        predictions: predicted classes, shape (n,).
        classes: number of classes.
        groups: numbers of the images' contents, shape (n,); None where no two are alike.
    """
    cells = np.bincount(labels * classes + predictions, minlength=classes**2)
    confusion = cells.reshape(classes, classes)
    images, total = confusion.sum(1), int(confusion.sum())
    true, right = images.astype(np.float64), np.diagonal(confusion).astype(np.float64)
    values = _macro_averages(right, true, confusion.sum(0).astype(np.float64))
    share, units, effective = float(right.sum()) / total, images, float(total)
    if groups is None:
        variances = np.concatenate(list(_resampled(confusion))).var(0)
    else:
        tables = _by_unit(labels, predictions, classes, groups)
        spread, *variances = np.concatenate(list(_resampled_units(tables))).var(0)
        units = np.array([len(table) for table in tables])
        effective = effective_images(share, float(spread), total, float(units.sum()))
    macro = (
        macro_interval(float(value), float(variance), images, units)
        for value, variance in zip(values, variances, strict=True)
    )
    return dict(zip(FIELDS, (wilson(share, effective), *macro), strict=True))


def _by_unit(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    classes: int,
    groups: NDArray[np.int64],
) -> list[NDArray[np.int64]]:
    """Return for each class what its units were taken for, shape (units of the class, classes)."""
    label_of, unit_of = units_of(labels, groups)
    cells = np.bincount(unit_of * classes + predictions, minlength=len(label_of) * classes)
    taken = cells.reshape(-1, classes)
    return [taken[label_of == label] for label in range(classes)]


def _resampled_units(tables: list[NDArray[np.int64]]) -> Iterator[NDArray[np.float64]]:
    """Yield accuracy and macro averages as ``_resampled``, drawing whole units of each class."""
    rng = np.random.default_rng(0)
    classes = len(tables)
    at_once = max(1, CELLS // max(sum(map(len, tables)), classes**2))
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        cells = np.zeros((count, classes, classes))
        for label, table in enumerate(tables):
            if size := len(table):
                drawn = max(size - 1, 1)
                times = rng.multinomial(drawn, np.full(size, 1 / size), size=count)
                cells[:, label] = times @ table * (size / drawn)
        right, true = np.diagonal(cells, axis1=1, axis2=2), cells.sum(2)
        accuracy = (right.sum(1) / true.sum(1))[:, None]
        yield np.concatenate([accuracy, _macro_averages(right, true, cells.sum(1))], axis=1)


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
