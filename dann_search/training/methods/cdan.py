"""Conditional adversarial adaptation (Long et al. 2018, eq. 5, without entropy weights).

The discriminator sees features together with class probabilities. As in the authors' and tllib's
code no gradient flows back through the probabilities.
"""

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
    """Domain loss on the multilinear map of features and probabilities, reversed as in DANN."""
    conditioned = network.conditioned(features, logits.softmax(1).detach())
    return domain_terms(network.domain_logits(conditioned, lam), domains, batch_size)
