"""What a validator may see: outputs on both domains, and labels of the source only."""

import warnings
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDS = 3
"""Of the validation splits, in which their density ratio is estimated."""
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
        return _density_ratio(self.source_features, self.target_features)

    def thinned(self) -> Self:
        """Return at most ``MOST_ROWS`` of each domain, evenly spaced, the same in every epoch."""

        def thin(values: NDArray[Any]) -> NDArray[Any]:
            count = len(values)
            return values[np.linspace(0, count - 1, min(count, MOST_ROWS)).round().astype(np.int64)]

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


def _density_ratio(source: Floats, target: Floats) -> Floats:
    """Estimate the target's over the source's density at each row of ``source``, shape (m,).

    A logistic regression tells the domains apart (You et al. 2019, section 4.2). The paper fits it
    to training features; here it is fitted to the other folds of the validation splits. This costs
    no pass over the training images, and no image is weighted by a model that was fitted to it.

    Args:
        source: features, shape (m, size).
        target: features, shape (n, size).
    """
    if min(len(source), len(target)) < FOLDS:
        return np.ones(len(source))
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    domains = np.repeat([0, 1], [len(source), len(target)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # An approximate fit is good enough for a weight.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = cross_val_predict(
            classifier, np.concatenate([source, target]), domains, cv=folds, method="predict_proba"
        )
    likely = found[: len(source)].clip(1e-6, 1 - 1e-6)
    ratio: Floats = likely[:, 1] / likely[:, 0] * (len(source) / len(target))
    return ratio
