"""The loss of one step: labels on the source, and a method's adaptation to the target."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.methods.terms import Adaptation
from dann_search.training.precision import at_least_fp32, without_autocast


def adapted_loss(
    network: DannNetwork,
    adaptation: Adaptation,
    source: Tensor,
    labels: Tensor,
    target: Tensor,
    lam: float,
    batch_size: int,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Label loss on source images plus a method's loss on both domains.

    Args:
        network: the network.
        adaptation: the method's loss.
        source: this worker's source images, normalized, (n, 3, side, side).
        labels: of the source images, (n,).
        target: this worker's target images, likewise.
        lam: weight of the adaptation.
        batch_size: images a domain over all workers: losses are this worker's share of their mean.
        label_smoothing: share of probability spread over all classes (Szegedy et al. 2016, 7).

    Returns:
        The loss, and (label loss, the method's loss, right domain answers, what else was added) as
        shares of the batch.
    """
    source_features, target_features = network.features_of_both(source, target)
    features = torch.cat([source_features, target_features])
    logits = network.classifier(features)
    label_loss = _label_loss(logits[: len(source)], labels, batch_size, label_smoothing)
    domains = torch.cat([logits.new_zeros(len(source)), logits.new_ones(len(target))])
    # In half precision a covariance overflows (fp16 ends at 65,504) and small probabilities vanish.
    with without_autocast(features.device):
        features, logits, domains = map(at_least_fp32, (features, logits, domains))
        terms = adaptation(network, features, logits, domains, lam, batch_size)
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
) -> tuple[Tensor, Tensor]:
    """Label loss alone: no target, not even in batch norm. Returns as ``adapted_loss`` does."""
    label_loss = _label_loss(network(source), labels, batch_size, label_smoothing)
    zero = label_loss.new_zeros(())
    return label_loss, torch.stack([label_loss.detach(), zero, zero, zero])


def _label_loss(logits: Tensor, labels: Tensor, batch_size: int, smoothing: float) -> Tensor:
    total = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    return total / batch_size
