"""Begin the label classifier with the class means of the source's features before training.

With w_c = (m_c - m) / s and b_c = -(|m_c|^2 - |m|^2) / 2s the logits rank classes c by the distance
of features to the means m_c (Snell et al. 2017, "Prototypical networks", section 2.4). m is the
mean of all features, and s the mean squared distance of a feature from its class's mean, which
keeps logits small enough to learn from.
"""

import torch
from torch import Tensor

from dann_search.models.domain_batch_norm import of_source
from dann_search.models.network import DannNetwork
from dann_search.training.epoch_steps import Batches
from dann_search.training.predict import batch_size_for, predict_logits

PER_CLASS = 32
"""Images of each class whose features are averaged."""


@torch.no_grad()
def start_from_class_means(network: DannNetwork, batches: Batches) -> None:
    """Set the weights of a classifier as built, before any step; the same on every worker."""
    data, of_source_images = batches.data, batches.seen("source", "train")
    of_class = [(data.source_labels == label).nonzero() for label in range(data.classes)]
    rows = torch.cat([found[:PER_CLASS, 0] for found in of_class])
    # Each worker computes its share of every batch.
    found = [
        predict_logits(
            network,
            of_source_images,
            batches.ranks,
            batches.config.precision,
            batches.beat,
            forward=network.backbone_features,
            rows=some,
        )
        for some in torch.split(rows, batch_size_for(batches.side) * batches.ranks.size)
    ]
    # All at once, normalized by themselves: statistics of a bottleneck are not known yet.
    network.train()
    with of_source(network):
        features: Tensor = network.bottleneck(torch.cat(found).to(batches.device))
    weight, bias = nearest_mean(features.cpu().double(), data.source_labels[rows], data.classes)
    network.classifier.weight.copy_(weight.float())
    network.classifier.bias.copy_(bias.float())


def nearest_mean(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return weights (classes, size) and biases (classes,) by the means of features (n, size).

    A class without an image gets the mean of all.
    """
    centre = features.mean(0)
    sums = torch.zeros(classes, features.shape[1], dtype=features.dtype)
    sums.index_add_(0, labels, features - centre)
    counts = torch.bincount(labels, minlength=classes).clamp_min(1)
    means = centre + sums / counts[:, None]
    spread = (features - means[labels]).square().sum(1).mean().clamp_min(1e-6)
    lengths = means.square().sum(1) - centre.square().sum()
    return (means - centre) / spread, -lengths / (2 * spread)
