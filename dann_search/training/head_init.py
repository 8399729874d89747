"""Begin the label classifier with the class means of the source's features before training.

With w_c = (m_c - m) / s and b_c = -(|m_c|^2 - |m|^2) / 2s the logits rank classes c by the distance
of features to the means m_c (Snell et al. 2017, "Prototypical networks", section 2.4). m is the
mean of all features, and s the mean squared distance of a feature from its class's mean, which
keeps logits small enough to learn from.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dann_search.data.image_pixels import centre_crop
from dann_search.data.training_data import TrainingData
from dann_search.models.domain_batch_norm import of_source
from dann_search.models.network import DannNetwork
from dann_search.training.epoch_steps import Batches
from dann_search.training.predict import batch_size_for, predict_logits

PER_CLASS = 32
"""Images of each class whose features are averaged."""


@torch.no_grad()
def start_from_class_means(
    network: DannNetwork, batches: Batches, beat: Callable[[], None] = lambda: None
) -> None:
    """Set the classifier's weights; the same on every worker.

    Args:
        network: as built, before any step.
        batches: the source's images, and how the network sees them.
        beat: called after every batch.
    """
    rows, labels = _first_of_each_class(batches.data)
    images, crop_size = batches.data.source_images, batches.data.info.crop_size
    frozen = batches.frozen.of("source", "train", None, beat) if batches.frozen else None
    size = batch_size_for(batches.side) * batches.ranks.size
    found = []
    for some in torch.split(rows, size):
        found.append(
            predict_logits(
                _BeforeBottleneck(network),
                frozen.part(some)
                if frozen
                else centre_crop(images.index_select(0, some), crop_size),
                batches.spec,
                batches.side,
                batches.device,
                batches.ranks,
                batches.config.precision,
            )
        )
        beat()
    # All at once, normalized by themselves: statistics of a bottleneck are not known yet.
    network.train()
    with of_source(network):
        features: Tensor = network.bottleneck(torch.cat(found).to(batches.device))
    weight, bias = nearest_mean(features.cpu().double(), labels, batches.data.classes)
    network.classifier.weight.copy_(weight.float())
    network.classifier.bias.copy_(bias.float())


class _BeforeBottleneck(nn.Module):
    """A network up to the features of its backbone."""

    def __init__(self, network: DannNetwork):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.backbone_features(images)


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


def _first_of_each_class(data: TrainingData) -> tuple[Tensor, Tensor]:
    """Return the rows of up to ``PER_CLASS`` source images of each class, and their labels."""
    labels = data.source_labels
    rows = torch.cat([(labels == c).nonzero()[:PER_CLASS, 0] for c in range(data.classes)])
    return rows, labels[rows]
