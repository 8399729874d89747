"""Whether probabilities mean what they say: reliability, calibration error, temperature."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature: few labels, all predicted right, would drive it to zero."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose largest probability lies between ``low`` and ``high``.

    ``confidence`` is the mean of those probabilities, ``accuracy`` the share predicted right; both
    are nan where there are no images.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = BINS
) -> list[ReliabilityBin]:
    """Confidence against accuracy in bins of equal width (Guo et al. 2017, section 2).

    Args:
        probabilities: shape (n, classes).
        labels: shape (n,).
        bins: their number.
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    found = []
    for index in range(bins):
        mine = place == index
        n = int(mine.sum())
        means = (confidence[mine].mean(), right[mine].mean()) if n else (np.nan, np.nan)
        found.append(
            ReliabilityBin(
                float(edges[index]), float(edges[index + 1]), n, float(means[0]), float(means[1])
            )
        )
    return found


def expected_calibration_error(bins: list[ReliabilityBin]) -> float:
    """Mean distance of confidence and accuracy, each bin by its images (Guo et al. 2017, eq. 3)."""
    total = sum(one.n for one in bins)
    return sum(one.n / total * abs(one.accuracy - one.confidence) for one in bins if one.n)


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The temperature that makes labels most likely (Guo et al. 2017, section 4.2).

    Args:
        logits: shape (n, classes), of images the network was not trained on.
        labels: shape (n,).
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[rows, labels].mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def to_probabilities(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of logits (n, classes) divided by the temperature."""
    probabilities: NDArray[np.float64] = softmax(logits / temperature, axis=1)
    return probabilities
