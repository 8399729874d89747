"""Maximum classifier discrepancy (Saito et al. 2018), in one step by gradient reversal.

The paper takes three steps in turn: both classifiers and the features learn the source (A), the
classifiers learn to differ on the target (B), the features learn that they do not (C). One step
with a gradient reversal layer, which the authors' code offers too, has the same gradients: the
classifiers get those of B, the features those of A and C, all at the same weights.
"""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms, second_classifier


@register_method(
    MethodSpec(
        name="mcd",
        words="MCD (Saito et al. 2018): two classifiers learn the source and to differ on target "
        "images, and through a gradient reversal layer the network learns features on which they "
        "agree.",
        term="cross-entropy of a second classifier on the source, minus lambda times the mean "
        "absolute difference of both classifiers' probabilities on the target, whose gradient into "
        "the features is reversed; in one step where the paper takes three",
        source="Saito et al. 2018, section 3.3",
        module=second_classifier,
        labels=True,
    )
)
def loss(
    network: Network,
    features: Tensor,
    logits: Tensor,
    domains: Tensor,
    lam: float,
    batch_size: int,
    labels: Tensor,
) -> Terms:
    """Compute the second classifier's label loss and the reversed discrepancy of the two."""
    import torch.nn.functional as F

    from dann_search.models.gradient_reversal import reverse_gradient

    assert network.method_module is not None
    source, target = features.chunk(2)
    # The features learn from it no more than lambda says: without adaptation nothing but the second
    # classifier changes.
    learnt = reverse_gradient(source, -min(1.0, lam))
    label_loss = F.cross_entropy(network.method_module(learnt), labels, reduction="sum")
    reversed_ = reverse_gradient(target, 1.0)
    both = [head(reversed_).softmax(1) for head in (network.classifier, network.method_module)]
    difference = (both[0] - both[1]).abs().mean(1).sum()
    return Terms((label_loss - lam * difference) / batch_size)
