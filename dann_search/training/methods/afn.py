"""Stepwise adaptive feature norm (Xu et al. 2019): features grow longer, step by step."""

from dann_search.config.extensions import MethodSpec, Option, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms

DELTA = Option(
    name="afn_delta",
    neutral=1.0,
    low=0.0,
    high=100.0,
    above_low=True,
    description="length by which `afn` wants each feature vector to grow in a step",
    words="Each is to grow by {value} a step",
)


@register_method(
    MethodSpec(
        name="afn",
        words="AFN (Xu et al. 2019): the feature vectors of both domains grow longer, step by "
        "step, since short ones transfer badly.",
        term="lambda times the sum over the domains of the mean of (\\|\\|f\\|\\| - r)², where r "
        "is \\|\\|f\\|\\| + `afn_delta` without a gradient: its value is constant, its gradient is "
        "not",
        source="Xu et al. 2019",
        trade_off=0.05,
        options=(DELTA,),
    )
)
def loss(
    network: Network,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
    afn_delta: float,
) -> Terms:
    """Compute ``lam`` times the squared distance of each feature's norm from a larger one."""
    norms = features.norm(dim=1)
    distances = (norms - (norms.detach() + afn_delta)).square()
    return Terms(lam * distances.sum() / batch_size)
