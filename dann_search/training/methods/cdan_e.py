"""CDAN with entropy weights (Long et al. 2018, section 3.2): sure predictions count more."""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms, domain_terms


@register_method(
    MethodSpec(
        name="cdan_e",
        words="CDAN+E (Long et al. 2018): a domain discriminator sees features together with the "
        "predicted classes, images of sure predictions counting up to twice as much, and through a "
        "gradient reversal layer the network learns to leave it guessing.",
        term="as `cdan`, each image weighted by 1 + exp(-H) of its prediction's entropy H; the "
        "weights of both domains together have mean 1, and no gradient",
        source="Long et al. 2018, section 3.2",
        discriminator="conditioned",
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute the domain loss on the multilinear map, weighted by the predictions' certainty."""
    probabilities = logits.softmax(1).detach()
    conditioned = network.conditioned(features, probabilities)
    answers = network.domain_logits(conditioned, lam)
    return domain_terms(answers, domains, batch_size, certainty(probabilities))


def certainty(probabilities: Tensor) -> Tensor:
    """Compute weights of mean 1, shape (n,), from probabilities (n, classes)."""
    # 1e-5, as in the authors' and tllib's code.
    entropy = -(probabilities * (probabilities + 1e-5).log()).sum(1)
    weights = 1 + (-entropy).exp()
    return weights / weights.mean()
