"""Which images a model is too unsure of: they may be of a class that the source lacks.

An image is rejected whose largest probability, uncalibrated, is below a threshold that rejects 5 %
of the source's validation images. No label of the target is read. A target that looks unlike the
source is rejected more often, too, whatever its classes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dann_search.data.training_data import as_tensor
from dann_search.errors import InputError
from dann_search.inference.batched_logits import batch_size_of, logits_of
from dann_search.inference.find_model import FoundModel
from dann_search.inference.model import DannModel
from dann_search.outputs.models import Rejection

MOST = 1_000
"""Validation images that say how many to expect below a user's threshold."""
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


def rejected(record: dict[str, Any], logits: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which images, by logits (n, classes), a model's rule rejects; none without a rule."""
    rule = record.get("rejection")
    unsure: NDArray[np.bool_] = sureness(logits) < (rule["threshold"] if rule else 0.0)
    return unsure


def expected_refused(found: FoundModel, model: DannModel, threshold: float) -> float | None:
    """Return which share of the target's validation images is below a user's threshold.

    Their labels are not read. At most ``MOST`` of them are looked at, evenly spaced.

    Args:
        found: where the model lies.
        model: the same model.
        threshold: of probabilities divided by the temperature, as ``predict`` writes them.

    Returns:
        0 to 1; None where the model's experiment is not found.
    """
    try:
        if (store := found.store) is None:
            return None
    except InputError:  # its images would have to be packed again
        return None
    images = as_tensor(store, "target", "val")
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST)).round().astype(int))
    batches = torch.split(images[torch.from_numpy(rows)], batch_size_of(model))
    return float((sureness(logits_of(model, batches) / model.temperature) < threshold).mean())
