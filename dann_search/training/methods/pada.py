"""Partial adversarial adaptation (Cao et al. 2018): the source has classes the target lacks.

Source images of classes that the target's predictions hardly contain count less, in the label loss
and in the discriminator's. The paper computes the class weights from all target images every so
many steps; here they are of a running mean over the steps, which is part of checkpoints.
"""

from dann_search.config.extensions import MethodSpec, register_method
from dann_search.training.methods.terms import Module, Network, Tensor, Terms, domain_terms

MOMENTUM = 0.02
"""Share of a step in the running mean: it remembers some 50 steps."""


def class_weights(size: int, classes: int) -> Module:
    """Build what remembers the target's mean prediction: all classes alike at first."""
    import torch
    from torch import nn

    module = nn.Module()
    module.register_buffer("mean", torch.full((classes,), 1 / classes))
    return module


@register_method(
    MethodSpec(
        name="pada",
        words="PADA (Cao et al. 2018): DANN for a target that lacks classes of the source. Source "
        "images count by how much of their class the predictions on target images contain.",
        term="as `dann`, and source images count by the weight of their class here and in the "
        "label loss: the target's mean prediction, a running mean over some 50 steps, divided by "
        "its largest class. Weights begin at 1 and reach these values as lambda reaches 1",
        source="Cao et al. 2018, eq. 3 and 5",
        discriminator="features",
        module=class_weights,
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
    """Compute the weighted domain loss, and what weights change of the label loss."""
    import torch
    import torch.nn.functional as F

    assert network.method_module is not None
    mean, (source, target) = network.method_module.get_buffer("mean"), logits.chunk(2)
    with torch.no_grad():
        mean.lerp_(target.softmax(1).mean(0).to(mean), MOMENTUM)
        weights = (1 + min(1.0, lam) * (mean / mean.max() - 1)).to(logits)[labels]
    # Target images together count as much as the source's, as in the authors' code.
    both = torch.cat([weights, weights.mean().expand(len(features) - len(labels))])
    terms = domain_terms(network.domain_logits(features, lam), domains, batch_size, both)
    label_losses = F.cross_entropy(source, labels, reduction="none")
    change = ((weights - 1) * label_losses).sum() / batch_size
    return Terms(terms.loss, terms.right, change)
