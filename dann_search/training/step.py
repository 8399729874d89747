"""The loss of one step: labels on the source, and a method's adaptation to the target.

Where some of the target's training images are labelled, their label loss is added with weight 1: as
much as the source's, from as many images.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.methods.terms import Terms
from dann_search.training.precision import at_least_fp32, without_autocast

Labelled = tuple[Tensor, Tensor]
"""Images (n, 3, side, side) and their labels, (n,)."""


def adapted_loss(
    network: DannNetwork,
    adaptation: Callable[..., Terms],
    source: Tensor,
    labels: Tensor,
    target: Tensor,
    lam: float,
    batch_size: int,
    label_smoothing: float = 0.0,
    strong: Tensor | None = None,
    few: Labelled | None = None,
) -> tuple[Tensor, Tensor]:
    """Label loss on source images plus a method's loss on both domains.

    Args:
        network: the network.
        adaptation: the method's loss, an ``Adaptation``.
        source: this worker's source images, normalized, (n, 3, side, side).
        labels: of the source images, (n,).
        target: this worker's target images, likewise.
        lam: weight of the adaptation.
        batch_size: images a domain over all workers: losses are this worker's share of their mean.
        label_smoothing: share of probability spread over all classes (Szegedy et al. 2016, 7).
        strong: the target images under strong augmentation, for methods that take them.
        few: this worker's labelled target images, (n, 3, side, side), and their labels, (n,).

    Returns:
        The loss, and (label loss, the method's loss, right domain answers, what else was added) as
        shares of the batch.
    """
    # All images of the target pass batch norm together.
    others = [images for images in (strong, few[0] if few else None) if images is not None]
    seen = torch.cat([target, *others]) if others else target
    source_features, target_features = network.features_of_both(source, seen)
    features = torch.cat([source_features, target_features[: len(target)]])
    logits = network.classifier(features)
    label_loss = _label_loss(logits[: len(source)], labels, batch_size, label_smoothing)
    views: dict[str, Tensor] = {}
    if strong is not None:
        views["strong"] = network.classifier(target_features[len(target) :][: len(strong)])
    if few is not None:
        answers = network.classifier(target_features[len(seen) - len(few[0]) :])
        label_loss = label_loss + _label_loss(answers, few[1], batch_size, label_smoothing)
    domains = torch.cat([logits.new_zeros(len(source)), logits.new_ones(len(target))])
    # In half precision a covariance overflows (fp16 ends at 65,504) and small probabilities vanish.
    with without_autocast(features.device):
        features, logits, domains = map(at_least_fp32, (features, logits, domains))
        views = {name: at_least_fp32(view) for name, view in views.items()}
        terms = adaptation(network, features, logits, domains, lam, batch_size, **views)
    zero = label_loss.new_zeros(())
    right = zero if terms.right is None else terms.right
    further = zero if terms.further is None else terms.further
    parts = torch.stack([label_loss.detach(), terms.loss.detach(), right, further.detach()])
    return label_loss + terms.loss + further, parts


def source_loss(
    network: DannNetwork,
    source: Tensor,
    labels: Tensor,
    batch_size: int,
    label_smoothing: float = 0.0,
    few: Labelled | None = None,
) -> tuple[Tensor, Tensor]:
    """Label loss alone. Of the target only ``few`` are seen, by batch norm too.

    Returns as ``adapted_loss`` does.
    """
    if few is None:
        label_loss = _label_loss(network(source), labels, batch_size, label_smoothing)
    else:
        both = zip(network.features_of_both(source, few[0]), (labels, few[1]), strict=True)
        losses = [
            _label_loss(network.classifier(features), own, batch_size, label_smoothing)
            for features, own in both
        ]
        label_loss = losses[0] + losses[1]
    zero = label_loss.new_zeros(())
    return label_loss, torch.stack([label_loss.detach(), zero, zero, zero])


def _label_loss(logits: Tensor, labels: Tensor, batch_size: int, smoothing: float) -> Tensor:
    total = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    return total / batch_size
