"""Class logits of a split, each worker computing its share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dann_search.data.views import Seen
from dann_search.models.network import DannNetwork
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
    images: Seen,
    ranks: Ranks = ALONE,
    precision: str = "fp32",
    beat: Callable[[], None] = lambda: None,
) -> Outputs:
    """Compute logits and features; arguments as of ``predict_logits``."""

    def both(images: Tensor) -> Tensor:
        features = network.features(images)
        return torch.cat([network.classifier(features), features], 1)

    found = predict_logits(network, images, ranks, precision, beat, forward=both)
    classes = network.classifier.out_features
    return Outputs(found[:, :classes], found[:, classes:])


@torch.no_grad()
def predict_logits(
    network: nn.Module,
    images: Seen,
    ranks: Ranks = ALONE,
    precision: str = "fp32",
    beat: Callable[[], None] = lambda: None,
    *,
    forward: Callable[[Tensor], Tensor] | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    """Compute logits of a whole split, each worker its share.

    Where memory does not suffice for a batch, it is halved and tried again.

    Args:
        network: put into evaluation mode.
        images: the split as the network sees it, on the network's device.
        ranks: this worker among those of the trial.
        precision: of the forward passes.
        beat: called after every batch, a sign of life.
        forward: what is computed of a batch; the network's logits if None.
        rows: numbers of the images (n,), where not all of the split are wanted.

    Returns:
        fp32 logits (n, classes), all of them on every worker, on the CPU.
    """
    network.eval()
    rows = torch.arange(len(images.images)) if rows is None else rows
    mine = rows[ranks.share(len(rows))]

    def in_batches() -> Iterator[Tensor]:
        start, size = 0, batch_size_for(images.side)
        while start < len(mine) or start == 0:
            try:
                with autocast(images.device, precision):
                    logits = (forward or network)(images.rows(mine[start : start + size]))
            except RuntimeError as exc:
                if size == 1 or not is_out_of_memory(exc):
                    raise
                size //= 2
            else:
                yield logits.float()
                start += size
                beat()

    return ranks.gather_rows(torch.cat(list(in_batches())), len(rows)).cpu()


def is_out_of_memory(exc: Exception) -> bool:
    """Return whether an error says that a device's memory does not suffice."""
    return isinstance(exc, torch.OutOfMemoryError) or NO_MEMORY in str(exc)
