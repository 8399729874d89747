"""Whether probabilities mean what they say: reliability, calibration error, temperature."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature."""
PRIOR = 0.5
"""Deviation of the temperature's logarithm: 19 of 20 temperatures are between 0.37 and 2.7.

Labels that are all predicted right would drive the temperature to zero without it. Of 0.25, 0.5 and
1, 0.5 gave the best likelihood of new images after 25 labels, of models whose right temperature was
0.5 to 3; after 400 labels all three agreed.
"""


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
    """The likeliest temperature (Guo et al. 2017, section 4.2), near 1 where labels say little.

    Its logarithm has a normal prior around 0 of deviation ``PRIOR``: a few images weigh less than
    that, hundreds much more.

    Args:
        logits: shape (n, classes), of images the network was not trained on.
        labels: shape (n,).
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float((log_temperature / PRIOR) ** 2 / 2 - scaled[rows, labels].sum())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def doubt(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> str:
    """What speaks against a temperature fitted on them, a sentence; empty where nothing does."""
    if np.isclose(temperature, (COLDEST, HOTTEST), rtol=1e-3).any():
        return f"the temperature is at its bound, {temperature:.2f}: do not rely on probabilities"
    if (logits.argmax(1) == labels).all():
        return (
            f"all {len(labels)} images of target val are classified right, which says little of "
            "the temperature: it was drawn towards 1"
        )
    return ""


def to_probabilities(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of logits (n, classes) divided by the temperature."""
    probabilities: NDArray[np.float64] = softmax(logits / temperature, axis=1)
    return probabilities


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities of a model can be believed, on one labelled set.

    Attributes:
        temperature: by which logits were divided; 1 for a model that was not calibrated.
        ece: expected calibration error.
        nll: mean negative log-likelihood of the labels, in nats.
        brier: mean squared distance of probabilities and the label's one-hot vector, 0 to 2.
        reliability: the bins that ``ece`` is made of.
    """

    temperature: float
    ece: float
    nll: float
    brier: float
    reliability: list[ReliabilityBin]

    def to_json(self) -> dict[str, Any]:
        """Fields of ``evaluate --json``; bins without images have null for their means."""
        bins = [
            {name: None if _is_nan(value) else value for name, value in asdict(one).items()}
            for one in self.reliability
        ]
        return {**asdict(self), "reliability": bins}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def measure_calibration(
    logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float = 1.0
) -> Calibration:
    """Calibration of logits (n, classes) over the temperature, against labels (n,)."""
    log_probabilities = log_softmax(logits / temperature, axis=1)
    probabilities = np.exp(log_probabilities)
    rows = np.arange(len(labels))
    bins = reliability(probabilities, labels)
    off = probabilities.copy()
    off[rows, labels] -= 1
    return Calibration(
        temperature=temperature,
        ece=expected_calibration_error(bins),
        nll=-float(log_probabilities[rows, labels].mean()),
        brier=float((off**2).sum(1).mean()),
        reliability=bins,
    )
