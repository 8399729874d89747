"""Which images a model is too unsure of: they may be of a class that the source lacks.

An image is rejected whose largest probability, uncalibrated, is below a threshold that rejects 5 %
of the source's validation images. No label of the target is read. A target that looks unlike the
source is rejected more often, too, whatever its classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dann_search.outputs.models import Rejection

SOURCE_RATE = 0.05
"""Share of the source's validation images that the threshold rejects."""


def sureness(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest probability of each image, from logits (n, classes), shape (n,)."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    largest: NDArray[np.float64] = 1 / shifted.sum(1)
    return largest


def rejection_rule(source: NDArray[np.float64]) -> dict[str, float]:
    """Return the threshold, and the share that it rejects, of logits of source images."""
    sure = sureness(source)
    threshold = float(np.quantile(sure, SOURCE_RATE))
    return {"threshold": threshold, "source_share": float((sure < threshold).mean())}


def rejection(record: dict[str, Any], rejected: int, images: int) -> Rejection | None:
    """Return what the rule of a model's record comes to; None where it has none."""
    if not (rule := record.get("rejection")):
        return None
    return Rejection(**rule, rejected=rejected, share=rejected / images if images else None)


def count_rejected(record: dict[str, Any], logits: NDArray[np.float64]) -> int:
    """Count the images, by logits (n, classes), that a model's rule rejects; 0 without a rule."""
    rule = record.get("rejection")
    return int((sureness(logits) < rule["threshold"]).sum()) if rule else 0
