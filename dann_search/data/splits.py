"""Stratified, seeded splits by content hash: alike on every machine, no duplicate in two splits."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import SplitsConfig
from dann_search.errors import InputError

SPLITS = ("train", "val", "test")


def split_indices(
    keys: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    config: SplitsConfig,
    domain: str,
) -> dict[str, NDArray[np.int64]]:
    """Divide images into train, val and test.

    Within a class, the distinct contents are ordered by a seeded hash and cut at the cumulative
    shares, so the split depends on the contents alone, not on the order or the names of files.
    Copies of one content go together; where they carry different labels, the smallest places them.

    Args:
        keys: content hash of each image, length n.
        labels: label of each image, shape (n,).
        class_names: names for messages.
        config: shares and seed.
        domain: name for messages.

    Returns:
        For each of train, val and test the sorted indices of its images.

    Raises:
        InputError: a class has too few distinct images to be in every split.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        copies[key].append(index)
    by_class: dict[int, list[str]] = defaultdict(list)
    for key, members in copies.items():
        by_class[min(int(labels[index]) for index in members)].append(key)

    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    for label, name in enumerate(class_names):
        ordered = sorted(by_class[label], key=lambda key: _seeded(key, config.seed))
        cuts = _cuts(len(ordered), config)
        if min(cuts[0], cuts[1] - cuts[0], len(ordered) - cuts[1]) < 1:
            raise InputError(
                f"domain {domain}: class '{name}' has {len(ordered)} distinct images, too few to "
                "have one in each of train, val and test; add images or remove the class"
            )
        pieces = (ordered[: cuts[0]], ordered[cuts[0] : cuts[1]], ordered[cuts[1] :])
        for split, piece in zip(SPLITS, pieces, strict=True):
            parts[split].extend(index for key in piece for index in copies[key])
    return {split: np.array(sorted(indices), dtype=np.int64) for split, indices in parts.items()}


def _seeded(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def _cuts(count: int, config: SplitsConfig) -> tuple[int, int]:
    """Ends of train and val among ``count`` images: rounded shares, at least one image each."""
    test = max(1, round(count * config.test))
    val = max(1, round(count * config.val))
    train = count - val - test
    return train, train + val
