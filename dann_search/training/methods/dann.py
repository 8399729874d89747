"""Domain-adversarial training (Ganin et al. 2016, eq. 13 to 15): the gradient is reversed."""

from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.methods.terms import Terms, domain_terms


def loss(
    network: DannNetwork,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
) -> Terms:
    """Domain loss on features, its gradient times ``-lam`` in the features."""
    return domain_terms(network.domain_logits(features, lam), domains, batch_size)
