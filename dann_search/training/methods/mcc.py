"""Minimum class confusion (Jin et al. 2020, eq. 2 to 6)."""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms

TEMPERATURE = 2.5
"""As in the paper, section 4.1."""


@register_method(
    MethodSpec(
        name="mcc",
        words="MCC (Jin et al. 2020): the network learns to confuse as few classes with each "
        "other as possible on target images.",
        term="lambda times the class confusion of the target's predictions at temperature 2.5",
        source="Jin et al. 2020, eq. 2 to 6",
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute ``lam`` times the class confusion of this worker's batch, weighted by its share."""
    _, target = logits.chunk(2)
    confusion = class_confusion((target / TEMPERATURE).softmax(1))
    return Terms(lam * confusion * (len(target) / batch_size))


def class_confusion(probabilities: Tensor) -> Tensor:
    """Compute the mean share of a class's confusion with other classes; input (n, classes)."""
    # 1e-12: a probability that underflows to 0 has entropy 0 rather than nan.
    entropy = -(probabilities * (probabilities + 1e-12).log()).sum(1)
    weights = 1 + (-entropy).exp()
    weights = (len(probabilities) * weights / weights.sum()).detach()
    correlation = (probabilities * weights[:, None]).T @ probabilities
    # A class that is impossible for the whole batch is confused with no other, not with nan.
    rows = correlation / correlation.sum(1, keepdim=True).clamp_min(1e-12)
    return (rows.sum() - rows.trace()) / len(rows)
