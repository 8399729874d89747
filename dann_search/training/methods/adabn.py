"""Adaptive batch normalization (Li et al. 2018): the target's statistics, and nothing else.

In each step target images pass the network after the source images, as under ``batch_norm:
domain``: each domain is normalized by its own statistics, and the model keeps those of the target.
The label loss on source images is the whole loss. The paper trains on the source first and gathers
the target's statistics after it; here they are gathered in training, so that batches, steps and the
choice of the epoch are those of any other method. The weights come to the same either way, as no
gradient reaches them from target images; the statistics are of the last batches, weighted by batch
norm's momentum, rather than of all images at once.
"""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms


@register_method(
    MethodSpec(
        name="adabn",
        words="AdaBN (Li et al. 2018): batch norm sees unlabelled target images and keeps their "
        "statistics; only labelled source images are trained on.",
        term="none; batch norm has statistics of its own for each domain, the target's are kept",
        source="Li et al. 2018",
        by_statistics=True,
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Add nothing: the target's images have passed batch norm, which is all there is to it."""
    return Terms(features.new_zeros(()))
