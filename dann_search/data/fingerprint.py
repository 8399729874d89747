"""What identifies a set of labelled images: the same on every machine, under any file names."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from dann_search.data.domain import NO_LABEL, Domain


def split_hash(domain: Domain, rows: NDArray[np.int64]) -> str:
    """Of the contents and class names of the images numbered ``rows``, in any order."""
    return _hash(sorted(f"{domain.keys[row]} {_class_of(domain, int(row))}" for row in rows))


def fingerprint(domain: Domain) -> str:
    """Of all contents, class names and given splits, in the domain's own order."""
    splits = domain.splits or [""] * len(domain)
    return _hash(
        [
            f"{key} {_class_of(domain, row)} {split}"
            for row, (key, split) in enumerate(zip(domain.keys, splits, strict=True))
        ]
    )


def _class_of(domain: Domain, row: int) -> str:
    label = int(domain.labels[row])
    return "" if label == NO_LABEL else domain.class_names[label]


def _hash(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
