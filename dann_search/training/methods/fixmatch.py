"""Consistency under strong augmentation (FixMatch, Sohn et al. 2020, eq. 4), on the target."""

from dann_search.config.extensions import MethodSpec, Option, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms

THRESHOLD = Option(
    name="fixmatch_threshold",
    neutral=0.95,
    description="probability from which `fixmatch` takes a prediction for the label of an image",
    words="Predictions count from a probability of {value} on",
)


@register_method(
    MethodSpec(
        name="fixmatch",
        words="FixMatch (Sohn et al. 2020): what the network is sure of on a target image becomes "
        "the label of the same image under strong augmentation.",
        term="lambda times the cross-entropy of strongly augmented target images (two operations "
        "of RandAugment and a hidden rectangle on top of the recipe's augmentation) with the class "
        "predicted without, over those whose probability is at least `fixmatch_threshold`, as a "
        "share of all",
        source="Sohn et al. 2020, eq. 4",
        strong_views=True,
        options=(THRESHOLD,),
    )
)
def loss(
    network: Network,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
    fixmatch_threshold: float,
    strong: Tensor,
) -> Terms:
    """Compute ``lam`` times the cross-entropy of strong views with sure predictions."""
    import torch.nn.functional as F

    probability, predicted = logits.chunk(2)[1].detach().softmax(1).max(1)
    each = F.cross_entropy(strong, predicted, reduction="none")
    return Terms(lam * (each * (probability >= fixmatch_threshold)).sum() / batch_size)
