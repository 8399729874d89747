"""Minimum class confusion (Jin et al. 2020, eq. 2 to 6): the target's classes are kept apart."""

from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.methods.terms import Terms

TEMPERATURE = 2.5
"""As in the paper, section 4.1."""


def loss(
    network: DannNetwork,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
) -> Terms:
    """``lam`` times the mean confusion between classes; each worker's own batch by its share."""
    target = logits[domains > 0]
    confusion = class_confusion((target / TEMPERATURE).softmax(1))
    return Terms(lam * confusion * (len(target) / batch_size), logits.new_zeros(()))


def class_confusion(probabilities: Tensor) -> Tensor:
    """Mean share of each class's confusion that lies on other classes, of (n, classes)."""
    # eps: a probability that underflows to 0 has entropy 0, not nan.
    entropy = -(probabilities * (probabilities + 1e-12).log()).sum(1)
    weights = 1 + (-entropy).exp()
    weights = (len(probabilities) * weights / weights.sum()).detach()
    correlation = (probabilities * weights[:, None]).T @ probabilities
    # A class that is impossible for the whole batch is confused with no other, not with nan.
    rows = correlation / correlation.sum(1, keepdim=True).clamp_min(1e-12)
    return (rows.sum() - rows.trace()) / len(rows)
