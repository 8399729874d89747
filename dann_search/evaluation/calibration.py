"""Calibration: reliability bins, expected calibration error, temperature scaling.

torchmetrics has the calibration error too, but not the bins that the reliability diagram shows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from dann_search.outputs.models import CalibrationError, ReliabilityBin

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature."""
PRIOR = 0.5
"""Standard deviation of the log temperature: 19 of 20 temperatures lie between 0.37 and 2.7.

Without a prior, labels that are all predicted correctly would drive the temperature to zero. Of
0.25, 0.5 and 1, 0.5 gave the best likelihood of new images after 25 labels, for models whose true
temperature was 0.5 to 3; after 400 labels all three agreed.
"""


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], bins: int = BINS
) -> list[ReliabilityBin]:
    """Compare confidence with accuracy in bins of equal width (Guo et al. 2017, section 2).

    ``probabilities`` have shape (n, classes), ``labels`` shape (n,).
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    members = [bin_of == index for index in range(bins)]
    return [
        ReliabilityBin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            n=int(mine.sum()),
            confidence=float(confidence[mine].mean()) if mine.any() else None,
            accuracy=float(right[mine].mean()) if mine.any() else None,
        )
        for index, mine in enumerate(members)
    ]


def expected_calibration_error(bins: list[ReliabilityBin]) -> float:
    """Average |accuracy - confidence| over the images of all bins (Guo et al. 2017, eq. 3)."""
    total = sum(one.n for one in bins)
    return sum(
        one.n / total * abs(one.accuracy - one.confidence)
        for one in bins
        if one.accuracy is not None and one.confidence is not None
    )


def calibration_error(
    logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float = 1.0
) -> CalibrationError:
    """Measure how far softmax(logits / temperature) can be believed.

    ``logits`` have shape (n, classes), ``labels`` shape (n,).
    """
    log_probabilities = log_softmax(logits / temperature, axis=1)
    probabilities = np.exp(log_probabilities)
    one_hot = np.eye(logits.shape[1])[labels]
    return CalibrationError(
        ece=expected_calibration_error(reliability(probabilities, labels)),
        nll=-float(log_probabilities[np.arange(len(labels)), labels].mean()),
        brier=float(((probabilities - one_hot) ** 2).sum(1).mean()),
    )


def fit_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the most likely temperature (Guo et al. 2017, section 4.2).

    Its logarithm has a normal prior around 0 with standard deviation ``PRIOR``: a few images weigh
    less than the prior, hundreds weigh much more. ``logits`` (n, classes) and ``labels`` (n,) are
    of images the network was not trained on.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float((log_temperature / PRIOR) ** 2 / 2 - scaled[rows, labels].sum())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def doubt(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> str:
    """Return a reason to doubt a temperature fitted on these images, or an empty string."""
    if np.isclose(temperature, (COLDEST, HOTTEST), rtol=1e-3).any():
        return f"the temperature is at its bound, {temperature:.2f}: do not rely on probabilities"
    if (logits.argmax(1) == labels).all():
        return (
            f"all {len(labels)} images of target val are classified correctly, which says little "
            "about the temperature; the prior drew it towards 1"
        )
    return ""


def to_probabilities(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the softmax of logits (n, classes) divided by the temperature."""
    probabilities: NDArray[np.float64] = softmax(logits / temperature, axis=1)
    return probabilities
