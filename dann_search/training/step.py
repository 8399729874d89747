"""One step of domain-adversarial training, as in the paper (Ganin et al. 2016, eq. 13 to 15)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.models.network import DannNetwork


def dann_loss(
    network: DannNetwork,
    source: Tensor,
    labels: Tensor,
    target: Tensor,
    lam: float,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Label loss on source images plus domain loss on both, the latter reversed into the features.

    Args:
        network: with a domain discriminator.
        source: this worker's source images, normalized, (n, 3, side, side).
        labels: of the source images, (n,).
        target: this worker's target images, likewise.
        lam: weight of the reversed gradient.
        batch_size: images a domain over all workers: losses are this worker's share of their mean.

    Returns:
        The loss, and (label loss, domain loss, right domain answers) as shares of the batch.
    """
    source_features, target_features = network.features_of_both(source, target)
    label_loss = (
        F.cross_entropy(network.classifier(source_features), labels, reduction="sum") / batch_size
    )
    logits = network.domain_logits(torch.cat([source_features, target_features]), lam)
    domains = torch.cat([logits.new_zeros(len(source)), logits.new_ones(len(target))])
    domain_loss = F.binary_cross_entropy_with_logits(logits, domains, reduction="sum") / (
        2 * batch_size
    )
    right = ((logits > 0) == (domains > 0)).sum() / (2 * batch_size)
    return label_loss + domain_loss, torch.stack([label_loss.detach(), domain_loss.detach(), right])


def source_loss(
    network: DannNetwork, source: Tensor, labels: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Label loss alone: no target, not even in batch norm. Returns as ``dann_loss`` does."""
    label_loss = F.cross_entropy(network(source), labels, reduction="sum") / batch_size
    zero = label_loss.new_zeros(())
    return label_loss, torch.stack([label_loss.detach(), zero, zero])
