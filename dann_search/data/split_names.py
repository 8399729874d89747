"""Which split a folder's or a cell's name stands for."""

import re
from collections.abc import Iterable

from dann_search.data.domain import SPLITS
from dann_search.errors import InputError, nearest

MEANINGS = {split: split for split in SPLITS} | {
    "training": "train",
    "trn": "train",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "testing": "test",
    "tst": "test",
}
AMBIGUOUS = ("eval", "evaluation")
"""The validation split to some, the test split to others."""


ADDED = ("set", "split", "data", "images", "imgs")
"""What names of splits may end in: ``train_set``, ``TestData``."""


def _plain(name: str) -> str:
    """Return a split's name without capitals, blanks, hyphens, underscores and such an end."""
    plain = re.sub(r"[\W_]", "", name.casefold())
    for end in ADDED:
        if plain.endswith(end) and plain.removesuffix(end) in (*MEANINGS, *AMBIGUOUS):
            return plain.removesuffix(end)
    return plain


def is_split_name(name: str) -> bool:
    """Whether a name is one that splits usually have, in upper or lower case."""
    return _plain(name) in MEANINGS or _plain(name) in AMBIGUOUS


def split_of(name: str) -> str:
    """Return the split that a name stands for, in upper or lower case.

    Raises:
        InputError: it stands for none, or for one or another.
    """
    written = _plain(name)
    if written in AMBIGUOUS:
        raise InputError(f"the split '{name}' may be val or test; rename it to one of them")
    if written not in MEANINGS:
        raise InputError(f"unknown split '{name}'; {nearest(name, SPLITS)}")
    return MEANINGS[written]


def splits_by_name(names: Iterable[str]) -> dict[str, str]:
    """Return the split that each name stands for.

    Raises:
        InputError: as ``split_of``, or two names stand for the same split.
    """
    splits = {name: split_of(name) for name in sorted(names)}
    for split in SPLITS:
        same = [name for name, meant in splits.items() if meant == split]
        if len(same) > 1:
            raise InputError(
                f"{' and '.join(same)} mean the same split, {split}; merge them, or rename those "
                "that do not"
            )
    return splits


def how_read(splits: dict[str, str]) -> str:
    """Return which names were taken for which splits; empty where none needed reading."""
    if all(name == split for name, split in splits.items()):
        return ""
    return ", ".join(f"{name} as {split}" for name, split in splits.items())
