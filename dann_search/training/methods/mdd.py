"""Margin disparity discrepancy (Zhang et al. 2019, section 4)."""

from dann_search.config.extensions import MethodSpec, Option, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms, second_classifier

MARGIN = Option(
    name="mdd_margin",
    neutral=4.0,
    low=1.0,
    high=100.0,
    description="factor of `mdd` on source images, gamma in the paper: the log of the margin",
    words="Its margin factor gamma is {value}",
)


@register_method(
    MethodSpec(
        name="mdd",
        words="MDD (Zhang et al. 2019): a second classifier learns to agree with the first on "
        "source images and to disagree on target images, and through a gradient reversal layer the "
        "network learns features on which it cannot.",
        term="`mdd_margin` times the cross-entropy of a second classifier with the first one's "
        "answers on the source, plus -log(1 - its probability of them) on the target; its gradient "
        "into the features is multiplied by -lambda, and none reaches the first classifier",
        source="Zhang et al. 2019, section 4",
        module=second_classifier,
        trade_off=0.1,
        options=(MARGIN,),
    )
)
def loss(
    network: Network,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
    mdd_margin: float,
) -> Terms:
    """Compute the second classifier's loss; its gradient in features is multiplied by ``-lam``."""
    import torch.nn.functional as F

    from dann_search.models.gradient_reversal import reverse_gradient

    assert network.method_module is not None
    of_source, of_target = logits.argmax(1).chunk(2)
    source, target = network.method_module(reverse_gradient(features, lam)).chunk(2)
    agreement = F.cross_entropy(source, of_source, reduction="sum")
    # 1e-6, as in tllib: the logarithm's gradient stays finite at a probability of 1.
    others = (1 - target.softmax(1) + 1e-6).clamp_max(1).log()
    disagreement = F.nll_loss(others, of_target, reduction="sum")
    return Terms((mdd_margin * agreement + disagreement) / batch_size)
