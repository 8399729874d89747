"""Deep adaptation (Long et al. 2015): the maximum mean discrepancy under several kernels.

On the bottleneck's features and with the kernels of tllib, not weighted against each other. tllib's
value is larger by 2 / (n - 1), whatever the features.
"""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Of the kernels' bandwidth, in mean squared distances: tllib's."""


@register_method(
    MethodSpec(
        name="dan",
        words="DAN (Long et al. 2015): the network learns features whose distribution is the same "
        "in source and target, as several Gaussian kernels see it.",
        term="lambda times the squared maximum mean discrepancy of the features (unbiased, so it "
        "may be negative), under the sum of five Gaussian kernels whose 2σ² is 1/4 to 4 times the "
        "mean squared distance",
        source="Long et al. 2015, eq. 1",
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute ``lam`` times the discrepancy of this worker's batch, weighted by its share."""
    discrepancy = unbiased_mmd(multiple_kernels(features))
    return Terms(lam * discrepancy * (len(features) / 2 / batch_size))


def multiple_kernels(points: Tensor) -> Tensor:
    """Sum the kernels over every pair of points (n, size): a matrix (n, n)."""
    squared = squared_distances(points)
    mean = squared.detach().mean().clamp_min(1e-12)  # all points may be the same
    kernels: Tensor = sum((-squared / (2 * scale * mean)).exp() for scale in SCALES)  # type: ignore[assignment]
    return kernels


def squared_distances(points: Tensor) -> Tensor:
    """Compute the squared distance of every pair of points (n, size): a matrix (n, n)."""
    # Centred, so that little is lost when nearly equal products are subtracted.
    centred = points - points.detach().mean(0)
    squares = centred.square().sum(1)
    return (squares[:, None] + squares - 2 * centred @ centred.T).clamp_min(0)


def unbiased_mmd(kernel: Tensor) -> Tensor:
    """Estimate the squared discrepancy of two sets of points from their kernel matrix (2n, 2n)."""

    def mean_of_others(own: Tensor) -> Tensor:
        count = len(own)
        return (own.sum() - own.trace()) / max(1, count * (count - 1))

    (source, between), (_, target) = (half.chunk(2, dim=1) for half in kernel.chunk(2))
    return mean_of_others(source) + mean_of_others(target) - 2 * between.mean()
