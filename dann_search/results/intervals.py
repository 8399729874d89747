"""95 % intervals of scores between 0 and 1: Wilson's, at the effective number of images.

Wilson's interval (1927) stays within [0, 1], holds the estimate, and says something where every
image was classified right. It is made for a proportion of n images; a macro average has as many
*effective* images as make a proportion vary as it does, mean (1 - mean) / variance (Korn and
Graubard 1998, for proportions in stratified samples). How often it covers the truth:
docs/models.md.
"""

import math

import numpy as np
from numpy.typing import NDArray

Z = 1.959964
"""97.5 % of the standard normal distribution lie below."""


def wilson(value: float, n: float) -> tuple[float, float]:
    """Of a proportion ``value`` of n images, which need not be whole."""
    shrunk = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(value * (1 - value) / n + Z**2 / (4 * n**2))
    # Rounding alone can leave out an estimate of 0 or 1.
    return min(value, max(0.0, shrunk - half)), max(value, min(1.0, shrunk + half))


def effective_images(value: float, variance: float, most: float) -> float:
    """So many images that a proportion ``value`` of them has this variance; ``most`` at most.

    Few images may not vary at all, though others would: all right, or one a class.
    """
    spread = value * (1 - value)
    return min(most, spread / variance) if spread * variance > 0 else most


def macro_interval(value: float, variance: float, images: NDArray[np.int64]) -> tuple[float, float]:
    """Of a mean over classes, 0 for each class without images.

    Were all images equally likely to be right, a mean of classes of n_c images would vary like a
    proportion of C² / (1/n_1 + … + 1/n_C): no interval claims to rest on more.

    Args:
        value: precision, recall or F1.
        variance: its sampling variance.
        images: of each class, shape (classes,).
    """
    present = images[images > 0]
    share = len(present) / len(images)
    mean = min(1.0, value / share)
    most = len(present) ** 2 / float((1 / present).sum())
    low, high = wilson(mean, effective_images(mean, variance / share**2, most))
    return min(value, share * low), max(value, share * high)
