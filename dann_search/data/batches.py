"""Which images make up each step of an epoch.

A function of seed and epoch alone, so a resumed run is exact.
"""

from collections.abc import Iterator

import torch
from torch import Tensor


def epoch_seed(seed: int, epoch: int, stream: int) -> int:
    """A seed for one purpose (``stream``) in one epoch; distinct for distinct arguments."""
    return (seed * 1_000_003 + epoch) * 16 + stream


def steps_per_epoch(source: int, target: int, batch_size: int) -> int:
    """Full batches of the larger domain: an epoch passes over it once, and repeats the smaller."""
    return max(1, max(source, target) // batch_size)


def paired_batches(
    source: int, target: int, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (source indices, target indices) of each step, ``batch_size`` each.

    Each domain is shuffled, and shuffled anew where it has to be repeated to fill the epoch. A
    domain smaller than a batch appears several times in it.
    """
    steps = steps_per_epoch(source, target, batch_size)
    streams = [
        _shuffled(size, steps * batch_size, epoch_seed(seed, epoch, stream))
        for stream, size in enumerate((source, target))
    ]
    for step in range(steps):
        rows = slice(step * batch_size, (step + 1) * batch_size)
        yield streams[0][rows], streams[1][rows]


def _shuffled(size: int, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    passes = [torch.randperm(size, generator=generator) for _ in range(-(-count // size))]
    return torch.cat(passes)[:count]
