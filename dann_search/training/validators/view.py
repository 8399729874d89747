"""What a validator may see: outputs on both domains, and labels of the source only."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dann_search.training.validators.density_ratio import density_ratio

Floats = NDArray[np.float64]

MOST_ROWS = 2000
"""Rows of each domain that a validator reads: the time of some grows with their square."""


@dataclass(frozen=True)
class ValidationView:
    """A network's outputs on the validation splits of both domains.

    Attributes:
        source_logits: shape (m, classes).
        source_features: inputs of the classifier, shape (m, size).
        source_labels: shape (m,).
        target_logits: shape (n, classes).
        target_features: shape (n, size).
    """

    source_logits: Floats
    source_features: Floats
    source_labels: NDArray[np.int64]
    target_logits: Floats
    target_features: Floats

    @property
    def target_probabilities(self) -> Floats:
        """Softmax of the target's logits, shape (n, classes)."""
        return softmax(self.target_logits)

    @cached_property
    def density_ratio(self) -> Floats:
        """Density of the target over that of the source at each source image, shape (m,)."""
        return density_ratio(self.source_features, self.target_features)

    def thinned(self, most: int = MOST_ROWS) -> Self:
        """Return at most ``most`` rows of each domain, evenly spaced, the same in every epoch."""

        def thin(values: NDArray[Any]) -> NDArray[Any]:
            count = len(values)
            return values[np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)]

        return replace(self, **{one.name: thin(getattr(self, one.name)) for one in fields(self)})


def softmax(logits: Floats) -> Floats:
    """Compute the softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def entropy(probabilities: Floats) -> Floats:
    """Compute the entropy in nats over the last axis; 0 log 0 is 0."""
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    found: Floats = -(probabilities * logs).sum(axis=-1)
    return found
