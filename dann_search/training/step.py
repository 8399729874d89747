"""The loss of one step: labels on the source, and a method's adaptation to the target.

Where some of the target's training images are labelled, their label loss is added with weight 1: as
much as the source's, from as many images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.methods.terms import Terms
from dann_search.training.precision import at_least_fp32, without_autocast


@dataclass(frozen=True, kw_only=True)
class Step:
    """This worker's part of one step: normalized images (n, 3, side, side), labels (n,).

    Where the network begins after its frozen stages, what these made of the images.

    Attributes:
        source, labels: of the source.
        target: images of the target; None without adaptation.
        pseudo: labels (n,) that the network gave them, in epochs that train on them.
        strong: the same target images under strong augmentation, where the method asks for them.
        few: images of the target with their labels, where it has some to train on.
        progress: of the training, from 0 to 1.
    """

    source: Tensor
    labels: Tensor
    target: Tensor | None = None
    pseudo: Tensor | None = None
    strong: Tensor | None = None
    few: tuple[Tensor, Tensor] | None = None
    progress: float = 0.0


def step_loss(
    network: DannNetwork,
    step: Step,
    adaptation: Callable[..., Terms],
    lam: float,
    batch_size: int,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Compute the label loss plus, where the step has target images, a method's loss.

    Args:
        network: the network.
        step: this worker's images.
        adaptation: the method's loss, an ``Adaptation``.
        lam: weight of the adaptation.
        batch_size: images a domain over all workers: losses are this worker's share of their mean.
        label_smoothing: share of probability spread over all classes (Szegedy et al. 2016, 7).

    Returns:
        The loss, and (label loss, the method's loss, right domain answers, what else was added) as
        shares of the batch.
    """

    def label_loss_of(logits: Tensor, labels: Tensor) -> Tensor:
        total = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=label_smoothing)
        return total / batch_size

    of_source, of_target = _features(network, step)
    target = of_target.get("target")
    features = of_source if target is None else torch.cat([of_source, target])
    logits = network.classifier(features)
    label_loss = label_loss_of(logits[: len(of_source)], step.labels)
    views = {"strong": network.classifier(of_target["strong"])} if "strong" in of_target else {}
    if step.few:
        label_loss = label_loss + label_loss_of(network.classifier(of_target["few"]), step.few[1])
    zero = label_loss.new_zeros(())
    if target is None:
        return label_loss, torch.stack([label_loss.detach(), zero, zero, zero])
    domains = torch.cat([logits.new_zeros(len(of_source)), logits.new_ones(len(target))])
    # In half precision a covariance overflows (fp16 ends at 65,504) and small probabilities vanish.
    with without_autocast(features.device):
        features, logits, domains = map(at_least_fp32, (features, logits, domains))
        views = {name: at_least_fp32(view) for name, view in views.items()}
        terms = adaptation(network, features, logits, domains, lam, batch_size, **views)
    right = zero if terms.right is None else terms.right
    further = zero if terms.further is None else terms.further
    parts = torch.stack([label_loss.detach(), terms.loss.detach(), right, further.detach()])
    return label_loss + terms.loss + further, parts


def _features(network: DannNetwork, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
    """Return features of the source, and those of each set of target images that a step has."""
    sets = {"target": step.target, "strong": step.strong, "few": step.few[0] if step.few else None}
    images = {name: some for name, some in sets.items() if some is not None}
    if not images:
        return network.features(step.source), {}
    # All images of the target pass batch norm together.
    seen = torch.cat([*images.values()]) if len(images) > 1 else next(iter(images.values()))
    of_source, of_target = network.features_of_both(step.source, seen)
    parts = torch.split(of_target, [len(some) for some in images.values()])
    return of_source, dict(zip(images, parts, strict=True))
