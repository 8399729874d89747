"""Stratified, seeded splits by content hash: alike on every machine, no duplicate in two splits."""

import hashlib
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from dann_search.config.data import SplitsConfig
from dann_search.data.domain import NO_LABEL, SPLITS, Domain
from dann_search.errors import InputError, counted

Splits = dict[str, NDArray[np.int64]]
"""For each of train, val and test the sorted numbers of its images."""


def split_domain(domain: Domain, config: SplitsConfig) -> Splits:
    """Divide a domain's images into train, val and test.

    Splits that the images came with are kept; where there is none for validation, it is drawn from
    the training images, ``val / (train + val)`` of them. Images without a label go to train;
    if no image has one, all are divided by their contents alone. Images that their owner labelled
    for training go to train, with their copies.

    Raises:
        InputError: a class has too few distinct images to be in every split, or a split that the
            images came with is empty.
    """
    few = _few(domain)
    labelled = np.flatnonzero(((domain.labels != NO_LABEL) | (not domain.labelled)) & ~few)
    if domain.splits is None:
        parts = _divide(domain, labelled, (config.train, config.val, config.test), config.seed)
    else:
        given = np.array(domain.splits)
        parts = {split: labelled[given[labelled] == split] for split in SPLITS}
        if not len(parts["val"]):
            shares = (config.train, config.val, 0.0)
            parts = _divide(domain, parts["train"], shares, config.seed) | {"test": parts["test"]}
    others = few | ((domain.labels == NO_LABEL) & domain.labelled)
    parts["train"] = np.sort(np.concatenate([parts["train"], np.flatnonzero(others)]))
    if not domain.labelled and (empty := [split for split, rows in parts.items() if not len(rows)]):
        raise InputError(f"domain {domain.name}: no image in its {empty[0]} split")
    return parts


def _few(domain: Domain) -> NDArray[np.bool_]:
    """Return which images are labelled for training, or copies of such images, shape (n,).

    Copies in a val or test split that the images came with stay there, and are told of.
    """
    if domain.few is None:
        return np.zeros(len(domain), dtype=bool)
    keys = {domain.keys[row] for row in np.flatnonzero(domain.few).tolist()}
    copies = np.array([key in keys for key in domain.keys])
    return copies if domain.splits is None else copies & (np.array(domain.splits) == "train")


def _divide(
    domain: Domain, rows: NDArray[np.int64], shares: tuple[float, float, float], seed: int
) -> Splits:
    """Divide the images numbered ``rows`` by shares.

    Within a class, the distinct contents are ordered by a seeded hash and cut at the cumulative
    shares, so the split depends on the contents alone, not on the order or the names of files.
    Copies of one content go together.
    """
    by_class = contents_by_class(domain, rows)
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    wanted = [split for split, share in zip(SPLITS, shares, strict=True) if share]
    named = {label: f"class '{name}' has" for label, name in enumerate(domain.class_names)}
    for label, whose in (named if domain.labelled else {NO_LABEL: "it has"}).items():
        contents = by_class[label]
        ordered = sorted(contents, key=lambda key: _seeded(key, seed))
        sizes = _sizes(len(ordered), shares)
        if sizes[0] < 1:
            raise InputError(
                f"domain {domain.name}: {whose} {counted(len(ordered), 'distinct image')}, too few "
                f"to have one in each of {', '.join(wanted[:-1])} and {wanted[-1]}; add images"
                + (" or remove the class" if domain.labelled else "")
            )
        start = 0
        for split, size in zip(SPLITS, sizes, strict=True):
            piece, start = ordered[start : start + size], start + size
            parts[split].extend(row for key in piece for row in contents[key])
    return {split: np.array(sorted(members), dtype=np.int64) for split, members in parts.items()}


def contents_by_class(
    domain: Domain, rows: NDArray[np.int64]
) -> defaultdict[int, dict[str, list[int]]]:
    """Group images by label and content: the rows of each content, by its hash, by its label.

    Of copies under different labels the smallest counts.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for row in rows.tolist():
        copies[domain.keys[row]].append(row)
    by_class: defaultdict[int, dict[str, list[int]]] = defaultdict(dict)
    for key, members in copies.items():
        by_class[min(int(domain.labels[row]) for row in members)][key] = members
    return by_class


def _seeded(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def _sizes(count: int, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """Images for train, val, test of ``count``: rounded shares, at least one where wanted."""
    total = sum(shares)
    val, test = (max(1, round(count * share / total)) if share else 0 for share in shares[1:])
    return count - val - test, val, test
