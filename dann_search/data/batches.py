"""Which images make up each step of an epoch.

A function of seed and epoch alone, so a resumed run is exact.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

FEW = 5
"""Stream of random numbers that draws labelled target images."""


def epoch_seed(seed: int, epoch: int, stream: int) -> int:
    """Return a seed for one purpose (``stream``, 0 to 15) in one epoch; all are distinct."""
    return (seed * 1_000_003 + epoch) * 16 + stream


def steps_per_epoch(source: int, target: int, batch_size: int) -> int:
    """Full batches of the larger domain: an epoch passes over it once, and repeats the smaller."""
    return max(1, max(source, target) // batch_size)


def paired_batches(
    source: int,
    target: int,
    batch_size: int,
    seed: int,
    epoch: int,
    balanced_labels: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (source indices, target indices) of each step, ``batch_size`` each.

    Each domain is shuffled, and shuffled anew where it has to be repeated to fill the epoch. A
    domain smaller than a batch appears several times in it. With ``balanced_labels``, those of the
    source's images, every class of the source is drawn equally often instead of every image.
    """
    steps = steps_per_epoch(source, target, batch_size)
    count = steps * batch_size
    seeds = [epoch_seed(seed, epoch, stream) for stream in (0, 1)]
    from_source = (
        _shuffled(source, count, seeds[0])
        if balanced_labels is None
        else _balanced(balanced_labels, count, seeds[0])
    )
    from_target = _shuffled(target, count, seeds[1])
    yield from zip(
        torch.split(from_source, batch_size), torch.split(from_target, batch_size), strict=True
    )


def few_batches(
    labels: Tensor, batch_size: int, steps: int, seed: int, epoch: int
) -> Iterator[Tensor]:
    """Yield indices of each step, ``batch_size`` each, with every class drawn equally often.

    They are of the labelled target images, whose ``labels`` (m,) are given. With fewer than a
    batch, each is drawn several times.
    """
    drawn = _balanced(labels, steps * batch_size, epoch_seed(seed, epoch, FEW))
    yield from torch.split(drawn, batch_size)


def _balanced(labels: Tensor, count: int, seed: int) -> Tensor:
    """Draw rounds of one image of each class, with the classes in a new order each round."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.unique(labels).tolist()
    rounds = -(-count // len(classes))
    by_class = []
    for label in classes:
        rows = (labels == label).nonzero().squeeze(1)
        by_class.append(rows[_passes(len(rows), rounds, generator)])
    order = torch.rand(rounds, len(classes), generator=generator).argsort(1)
    return torch.stack(by_class, 1).gather(1, order).flatten()[:count]


def _shuffled(size: int, count: int, seed: int) -> Tensor:
    return _passes(size, count, torch.Generator().manual_seed(seed))


def _passes(size: int, count: int, generator: torch.Generator) -> Tensor:
    passes = [torch.randperm(size, generator=generator) for _ in range(-(-count // size))]
    return torch.cat(passes)[:count]
