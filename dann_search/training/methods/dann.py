"""Domain-adversarial training (Ganin et al. 2016, eq. 13 to 15): the gradient is reversed."""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms, domain_terms


@register_method(
    MethodSpec(
        name="dann",
        words="DANN (Ganin et al. 2016): a domain discriminator learns to tell source from target "
        "features, and through a gradient reversal layer the network learns to leave it guessing.",
        term="BCE of a domain discriminator on the features, mean over the 2n images; its gradient "
        "into the features is multiplied by -lambda",
        source="Ganin et al., JMLR 2016, eq. 13 to 15",
        discriminator="features",
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute the domain loss; its gradient in the features is multiplied by ``-lam``."""
    return domain_terms(network.domain_logits(features, lam), domains, batch_size)
