"""Splits depend on contents and seed alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dann_search.config.data import SplitsConfig
from dann_search.data.domain import SPLITS, Domain, Image
from dann_search.data.splits import split_domain
from dann_search.errors import InputError

SHARES = st.sampled_from(
    # In the last one val and test differ: mistaken for each other, they would show.
    [(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.4, 0.3, 0.3), (0.34, 0.33, 0.33), (0.7, 0.1, 0.2)]
)
PROFILE = settings(max_examples=40, deadline=None, derandomize=True)


def config_of(shares: tuple[float, float, float], seed: int = 0) -> SplitsConfig:
    train, val, test = shares
    return SplitsConfig(train=train, val=val, test=test, seed=seed)


def split(keys: list[str], labels: list[int], config: SplitsConfig) -> dict[str, NDArray[np.int64]]:
    return split_domain(domain_of(keys, labels), config)


def domain_of(keys: list[str], labels: list[int], splits: list[str] | None = None) -> Domain:
    names = tuple(f"class {label}" for label in range(max(labels) + 1))

    def decode(index: int, side: int) -> Image:
        raise AssertionError("splitting decodes nothing")

    return Domain("test", names, np.array(labels), keys, decode, keys, splits)


@st.composite
def image_sets(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """Keys and labels: at least ten distinct contents a class, some of them several times."""
    keys, labels = [], []
    for label in range(draw(st.integers(1, 4))):
        copies = draw(st.lists(st.integers(1, 3), min_size=10, max_size=40))
        for number, count in enumerate(copies):
            keys += [f"{label}-{number}"] * count
            labels += [label] * count
    return keys, labels


@PROFILE
@given(images=image_sets(), shares=SHARES, seed=st.integers(0, 100))
def test_splits_are_disjoint_complete_and_hold_every_class(
    images: tuple[list[str], list[int]], shares: tuple[float, float, float], seed: int
) -> None:
    keys, labels = images
    parts = split(keys, labels, config_of(shares, seed))
    assert tuple(parts) == SPLITS
    joined = np.concatenate([parts[name] for name in SPLITS])
    assert sorted(joined) == list(range(len(keys)))
    for indices in parts.values():
        assert set(np.array(labels)[indices]) == set(labels)
        assert list(indices) == sorted(indices)


@PROFILE
@given(images=image_sets(), shares=SHARES)
def test_copies_of_one_content_stay_together(
    images: tuple[list[str], list[int]], shares: tuple[float, float, float]
) -> None:
    keys, labels = images
    parts = split(keys, labels, config_of(shares))
    homes = [{keys[index] for index in indices} for indices in parts.values()]
    assert sum(map(len, homes)) == len(set.union(*homes))


@PROFILE
@given(images=image_sets(), random=st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order_of_files(
    images: tuple[list[str], list[int]], random: np.random.RandomState
) -> None:
    keys, labels = images
    order = list(range(len(keys)))
    random.shuffle(order)
    config = config_of((0.6, 0.2, 0.2))
    before = split(keys, labels, config)
    after = split([keys[i] for i in order], [labels[i] for i in order], config)
    for name in SPLITS:
        assert {keys[i] for i in before[name]} == {keys[order[i]] for i in after[name]}


def test_copies_under_different_labels_do_not_depend_on_the_order_of_files() -> None:
    keys = [f"{label}-{n}" for label in (0, 1) for n in range(10)] + ["both", "both"]
    labels = [0] * 10 + [1] * 10 + [0, 1]
    config = config_of((0.6, 0.2, 0.2))
    before, after = split(keys, labels, config), split(keys[::-1], labels[::-1], config)
    for name in SPLITS:
        assert {keys[i] for i in before[name]} == {keys[::-1][i] for i in after[name]}


@PROFILE
@given(count=st.integers(10, 500), shares=SHARES, seed=st.integers(0, 100))
def test_shares_are_those_asked_for_within_rounding(
    count: int, shares: tuple[float, float, float], seed: int
) -> None:
    parts = split([str(n) for n in range(count)], [0] * count, config_of(shares, seed))
    for name, share in zip(SPLITS, shares, strict=True):
        assert abs(len(parts[name]) - count * share) <= 1


def test_the_seed_alone_decides_between_equal_sets() -> None:
    keys, labels = [str(n) for n in range(100)], [0] * 100
    first, again, other = (
        split(keys, labels, config_of((0.6, 0.2, 0.2), seed)) for seed in (1, 1, 2)
    )
    assert all((first[name] == again[name]).all() for name in SPLITS)
    assert list(first["test"]) != list(other["test"])


def test_a_class_of_too_few_distinct_images_is_refused_by_name() -> None:
    keys, labels = ["a", "a", "b", *"cdefghij"], [0, 0, 0, *[1] * 8]
    with pytest.raises(InputError, match=r"domain test: class 'class 0' has 2 distinct images"):
        split(keys, labels, config_of((0.6, 0.2, 0.2)))


@PROFILE
@given(images=image_sets(), shares=SHARES, seed=st.integers(0, 100), data=st.data())
def test_given_splits_are_kept_and_only_a_missing_val_is_drawn_from_train(
    images: tuple[list[str], list[int]],
    shares: tuple[float, float, float],
    seed: int,
    data: st.DataObject,
) -> None:
    keys, labels = images
    given_val = data.draw(st.booleans())
    names = SPLITS if given_val else ("train", "test")
    owner = [names[int(key.split("-")[1]) % len(names)] for key in keys]
    parts = split_domain(domain_of(keys, labels, owner), config_of(shares, seed))
    of = {name: {i for i, split in enumerate(owner) if split == name} for name in SPLITS}
    mine = {name: set(parts[name].tolist()) for name in SPLITS}
    assert mine["test"] == of["test"]
    assert mine["train"] | mine["val"] == of["train"] | of["val"]
    assert not mine["train"] & mine["val"]
    if given_val:
        assert mine["val"] == of["val"]
    else:
        assert {labels[i] for i in mine["val"]} == set(labels)


def test_val_is_drawn_from_train_in_their_proportion() -> None:
    keys = [str(n) for n in range(500)]
    owner = ["train"] * 400 + ["test"] * 100
    parts = split_domain(domain_of(keys, [0] * 500, owner), config_of((0.6, 0.2, 0.2)))
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 300,
        "val": 100,
        "test": 100,
    }


@PROFILE
@given(images=image_sets(), bare=st.integers(1, 20), shares=SHARES)
def test_images_without_a_label_go_to_train_and_move_no_other(
    images: tuple[list[str], list[int]], bare: int, shares: tuple[float, float, float]
) -> None:
    keys, labels = images
    before = split(keys, labels, config_of(shares))
    after = split([*keys, *(f"bare {n}" for n in range(bare))], labels + [-1] * bare,
                  config_of(shares))  # fmt: skip
    extra = list(range(len(keys), len(keys) + bare))
    assert after["train"].tolist() == before["train"].tolist() + extra
    assert all((after[name] == before[name]).all() for name in ("val", "test"))
