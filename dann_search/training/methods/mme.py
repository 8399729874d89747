"""Minimax entropy (Saito et al. 2019), made for targets of which few images are labelled.

In the official code one step learns the labels and another the entropy; here one step has the
gradients of both, at the same weights.
"""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Network, Tensor, Terms


@register_method(
    MethodSpec(
        name="mme",
        words="MME (Saito et al. 2019): a classifier by cosines moves its class weights towards "
        "target images by raising their entropy, and through a gradient reversal layer the network "
        "learns features of low entropy around them.",
        term="minus lambda times the mean entropy of the target's predictions, whose gradient into "
        "the features is reversed; the classifier takes features of length 1 at temperature 0.05; "
        "made for targets with a few labels",
        source="Saito et al. 2019, section 3.2",
        classifier="cosine",
        trade_off=0.1,
    )
)
def loss(
    network: Network, features: Tensor, logits: Tensor, domains: Tensor, lam: float, batch_size: int
) -> Terms:
    """Compute the negative entropy; its gradient in the features is reversed."""
    from dann_search.models.gradient_reversal import reverse_gradient

    reversed_ = network.classifier(reverse_gradient(features.chunk(2)[1], 1.0))
    # 1e-5, as in the authors' code.
    probabilities = reversed_.softmax(1)
    negative_entropy = (probabilities * (probabilities + 1e-5).log()).sum()
    return Terms(lam * negative_entropy / batch_size)
