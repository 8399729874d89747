"""Conditional adversarial adaptation (Long et al. 2018, eq. 5, without entropy weights).

The discriminator sees features together with class probabilities. As in the authors' and tllib's
code, no gradient flows back through the probabilities.
"""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms, domain_terms


@register_method(
    MethodSpec(
        name="cdan",
        words="CDAN (Long et al. 2018): a domain discriminator sees features together with the "
        "predicted classes, and through a gradient reversal layer the network learns to leave it "
        "guessing.",
        term="as `dann`, on the outer product of features and class probabilities (a random "
        "projection of 1,024 above 4,096 products); no gradient through the probabilities, no "
        "entropy weights",
        source="Long et al. 2018, eq. 5 and 6",
        discriminator="conditioned",
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute the domain loss on the multilinear map of features and probabilities."""
    conditioned = network.conditioned(features, logits.softmax(1).detach())
    return domain_terms(network.domain_logits(conditioned, lam), domains, batch_size)
