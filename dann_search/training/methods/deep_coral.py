"""Deep CORAL (Sun and Saenko 2016, eq. 1): source and target features get one covariance.

On the bottleneck's features, as tllib and DeepDA do; the paper takes the classifier's output.
"""

from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.methods.terms import Terms


def loss(
    network: DannNetwork,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
) -> Terms:
    """``lam`` times the CORAL distance; each worker's own batch by its share."""
    source, target = features[domains == 0], features[domains > 0]
    size = features.shape[1]
    distance = (covariance(source) - covariance(target)).square().sum() / (4 * size**2)
    return Terms(lam * distance * (len(target) / batch_size), logits.new_zeros(()))


def covariance(features: Tensor) -> Tensor:
    """Unbiased covariance (size, size) of features (n, size); zero of fewer than two."""
    centred = features - features.mean(0)
    return centred.T @ centred / max(1, len(features) - 1)
