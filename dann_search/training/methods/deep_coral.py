"""Deep CORAL (Sun and Saenko 2016, eq. 1): aligns the covariances of both domains.

It uses the features of the bottleneck, as tllib and DeepDA do; the paper, the classifier's output.
"""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms


@register_method(
    MethodSpec(
        name="deep_coral",
        words="Deep CORAL (Sun & Saenko 2016): the network learns features that have the same "
        "covariance in source and target.",
        term="lambda times \\|\\|C_s - C_t\\|\\|² / 4d² of the bottleneck's covariances; small "
        "numbers, and the paper states no weight, so search `lambda_max` well above 1",
        source="Sun and Saenko 2016, eq. 1",
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute ``lam`` times the CORAL distance of this worker's batch, weighted by its share."""
    source, target = features.chunk(2)
    size = features.shape[1]
    distance = (covariance(source) - covariance(target)).square().sum() / (4 * size**2)
    return Terms(lam * distance * (len(target) / batch_size))


def covariance(features: Tensor) -> Tensor:
    """Compute the unbiased covariance (size, size) of features (n, size); zero if n < 2."""
    centred = features - features.mean(0)
    return centred.T @ centred / max(1, len(features) - 1)
