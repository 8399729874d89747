"""Class logits of a split, each worker computing its share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dann_search.data.augment import normalize, to_float
from dann_search.models.catalog import BackboneSpec
from dann_search.models.network import DannNetwork
from dann_search.training.frozen_stages import FrozenOutput
from dann_search.training.precision import autocast
from dann_search.training.ranks import ALONE, Ranks

MOST = 256
PIXELS = 64 * 224 * 224
NO_MEMORY = "can't allocate memory"
"""What torch says on a CPU; on a GPU it has an error of its own."""


def batch_size_for(side: int) -> int:
    """Return how many images of a side to take at once: 64 of 224 pixels, at most 256.

    Without gradients a batch takes memory by its pixels: the first block of VGG16 takes 6.3 GiB
    for 256 images of 224 pixels.
    """
    return max(1, min(MOST, PIXELS // side**2))


@dataclass(frozen=True)
class Outputs:
    """What a network makes of a split: logits (n, classes) and features (n, size), on the CPU."""

    logits: Tensor
    features: Tensor


def predict_outputs(
    network: DannNetwork,
    images: Tensor | FrozenOutput,
    spec: BackboneSpec,
    side: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    precision: str = "fp32",
    beat: Callable[[], None] = lambda: None,
) -> Outputs:
    """Compute logits and features; arguments as of ``predict_logits``."""
    with_features = _WithFeatures(network)
    both = predict_logits(with_features, images, spec, side, device, ranks, precision, beat)
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
    images: Tensor | FrozenOutput,
    spec: BackboneSpec,
    side: int,
    device: torch.device,
    ranks: Ranks = ALONE,
    precision: str = "fp32",
    beat: Callable[[], None] = lambda: None,
) -> Tensor:
    """Compute logits of a whole split, each worker its share.

    Where memory does not suffice for a batch, it is halved and tried again.

    Args:
        network: put into evaluation mode.
        images: uint8, (n, 3, h, w); what frozen stages made of them where the network begins
            after those.
        spec: of the backbone, for its normalization.
        side: pixels at which the network sees images.
        device: of the network.
        ranks: this worker among those of the trial.
        precision: of the forward passes.
        beat: called after every batch, a sign of life.

    Returns:
        fp32 logits (n, classes), all of them on every worker, on the CPU.
    """
    network.eval()

    def batch(rows: slice) -> Tensor:
        if isinstance(images, FrozenOutput):
            return images.rows(torch.arange(rows.start, rows.stop))
        return normalize(to_float(images[rows].to(device), side), spec.mean, spec.std)

    def forward(rows: slice) -> Tensor:
        with autocast(device, precision):
            logits: Tensor = network(batch(rows))
        return logits.float()

    def in_batches(mine: slice) -> Iterator[Tensor]:
        start, size = mine.start, batch_size_for(side)
        while start < mine.stop or start == mine.start:
            try:
                yield forward(slice(start, min(start + size, mine.stop)))
            except RuntimeError as exc:
                if size == 1 or not is_out_of_memory(exc):
                    raise
                size //= 2
            else:
                start += size
                beat()

    mine = in_batches(ranks.share(len(images)))
    return ranks.gather_rows(torch.cat(list(mine)), len(images)).cpu()


def is_out_of_memory(exc: Exception) -> bool:
    """Return whether an error says that a device's memory does not suffice."""
    return isinstance(exc, torch.OutOfMemoryError) or NO_MEMORY in str(exc)
