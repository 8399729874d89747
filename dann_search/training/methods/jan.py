"""Joint adaptation (Long et al. 2017): the joint maximum mean discrepancy of two layers."""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.dan import multiple_kernels, squared_distances, unbiased_mmd
from dann_search.training.methods.terms import Network, Tensor, Terms

BANDWIDTH = 0.92
"""σ of the kernel of class probabilities, in tllib as in the authors' code: sqrt(1.68 / 2)."""


@register_method(
    MethodSpec(
        name="jan",
        words="JAN (Long et al. 2017): the network learns features and predictions whose joint "
        "distribution is the same in source and target, as Gaussian kernels see it.",
        term="as `dan`, each kernel of two images' features multiplied by a Gaussian kernel of "
        "their class probabilities (σ = 0.92)",
        source="Long et al. 2017, section 4.1",
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute ``lam`` times the discrepancy of this worker's batch, weighted by its share."""
    of_classes = (-squared_distances(logits.softmax(1)) / (2 * BANDWIDTH**2)).exp()
    discrepancy = unbiased_mmd(multiple_kernels(features) * of_classes)
    return Terms(lam * discrepancy * (len(features) / 2 / batch_size))
