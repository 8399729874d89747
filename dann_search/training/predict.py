"""Class logits of a split, each worker computing its share."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dann_search.data.augment import normalize, to_float
from dann_search.models.catalog import BackboneSpec
from dann_search.models.network import DannNetwork
from dann_search.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Outputs:
    """What a network makes of a split: logits (n, classes) and features (n, size), on the CPU."""

    logits: Tensor
    features: Tensor


def predict_outputs(
    network: DannNetwork,
    images: Tensor,
    spec: BackboneSpec,
    side: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Outputs:
    """Logits and what the classifier made them of; arguments as of ``predict_logits``."""
    both = predict_logits(_WithFeatures(network), images, spec, side, device, ranks)
    classes = network.classifier.out_features
    return Outputs(both[:, :classes], both[:, classes:])


class _WithFeatures(nn.Module):
    """A network that gives its features beside its logits, in one tensor."""

    def __init__(self, network: DannNetwork):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features = self.network.features(images)
        return torch.cat([self.network.classifier(features), features], 1)


@torch.no_grad()
def predict_logits(
    network: nn.Module,
    images: Tensor,
    spec: BackboneSpec,
    side: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    batch_size: int = 256,
) -> Tensor:
    """Logits (n, classes) of uint8 images (n, 3, h, w), all of them on every worker, on the CPU."""
    network.eval()
    mine = images[ranks.share(len(images))]
    pieces = [
        network(normalize(to_float(batch.to(device), side), spec.mean, spec.std))
        for batch in torch.split(mine, batch_size)
    ]
    return ranks.gather_rows(torch.cat(pieces), len(images)).cpu()
