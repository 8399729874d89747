"""Which images make up each step: a pure function of seed and epoch."""

from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_search.data.batches import epoch_seed, paired_batches, steps_per_epoch

SIZES = st.integers(1, 120)
PROFILE = settings(max_examples=40, deadline=None, derandomize=True)


def epoch_of(
    source: int, target: int, batch_size: int, seed: int, epoch: int
) -> tuple[list[list[int]], list[list[int]]]:
    pairs = list(paired_batches(source, target, batch_size, seed, epoch))
    return [s.tolist() for s, _ in pairs], [t.tolist() for _, t in pairs]


@PROFILE
@given(source=SIZES, target=SIZES, batch_size=st.integers(1, 40), epoch=st.integers(1, 9))
def test_an_epoch_passes_once_over_the_larger_domain_and_repeats_the_smaller(
    source: int, target: int, batch_size: int, epoch: int
) -> None:
    streams = epoch_of(source, target, batch_size, seed=3, epoch=epoch)
    steps = steps_per_epoch(source, target, batch_size)
    for size, stream in zip((source, target), streams, strict=True):
        assert [len(batch) for batch in stream] == [batch_size] * steps
        seen = Counter(index for batch in stream for index in batch)
        assert set(seen) <= set(range(size))
        # Whole passes and a part of one: no image is ahead of another by more than one pass.
        times, rest = divmod(steps * batch_size, size)
        assert set(seen.values()) <= {times, times + 1}
        assert sum(count == times + 1 for count in seen.values()) == rest
    larger = max(source, target)
    if larger >= batch_size:
        # At most the part of a batch is left out.
        assert 0 <= larger - steps * batch_size < batch_size


@PROFILE
@given(seed=st.integers(0, 2**31 - 1), epoch=st.integers(1, 1000))
def test_batches_depend_on_seed_and_epoch_alone(seed: int, epoch: int) -> None:
    first = epoch_of(50, 70, 8, seed, epoch)
    torch.manual_seed(0)
    torch.rand(5)
    assert epoch_of(50, 70, 8, seed, epoch) == first
    assert epoch_of(50, 70, 8, seed, epoch + 1) != first
    assert epoch_of(50, 70, 8, (seed + 1) % 2**31, epoch) != first


def test_the_source_is_shuffled_alike_whatever_the_target() -> None:
    """With as many steps, a method without a target sees the source as one with it does."""
    assert epoch_of(40, 30, 8, 0, 1)[0] == epoch_of(40, 40, 8, 0, 1)[0]


@given(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 10**6), st.integers(0, 15)),
       st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 10**6), st.integers(0, 15)))  # fmt: skip
def test_seeds_are_distinct_and_fit_a_generator(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    assert (epoch_seed(*one) == epoch_seed(*other)) == (one == other)
    torch.Generator().manual_seed(epoch_seed(*one))


@PROFILE
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=6),
    batch_size=st.integers(2, 30),
    seed=st.integers(0, 1000),
)
def test_balanced_batches_draw_every_class_equally_often(
    sizes: list[int], batch_size: int, seed: int
) -> None:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    pairs = list(paired_batches(sum(sizes), 50, batch_size, seed, 1, labels))
    drawn = torch.cat([source for source, _ in pairs])
    counts = Counter(labels[drawn].tolist())
    assert set(counts.values()) <= {len(drawn) // len(sizes), -(-len(drawn) // len(sizes))}
    for label, size in enumerate(sizes):
        # Within a class every image is drawn before any is drawn again.
        times = Counter(row for row in drawn.tolist() if labels[row] == label)
        assert len(times) == min(size, counts[label])
        assert max(times.values()) - min(times.values()) <= 1
    plain = list(paired_batches(sum(sizes), 50, batch_size, seed, 1))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(pairs, plain, strict=True))


def test_balanced_batches_are_shuffled_anew_each_epoch() -> None:
    labels = torch.tensor([0] * 30 + [1] * 10)
    epochs = [
        torch.cat([source for source, _ in paired_batches(40, 40, 8, 0, epoch, labels)])
        for epoch in (1, 1, 2)
    ]
    assert torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[0], epochs[2])
