"""Which split a folder's or a cell's name stands for."""

from collections.abc import Iterable

from dann_search.data.domain import SPLITS
from dann_search.errors import InputError, nearest

MEANINGS = {split: split for split in SPLITS} | {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
AMBIGUOUS = ("eval", "evaluation")
"""The validation split to some, the test split to others."""


def is_split_name(name: str) -> bool:
    """Whether a name is one that splits usually have, in upper or lower case."""
    return name.casefold() in MEANINGS or name.casefold() in AMBIGUOUS


def split_of(name: str) -> str:
    """Return the split that a name stands for, in upper or lower case.

    Raises:
        InputError: it stands for none, or for one or another.
    """
    written = name.casefold()
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
