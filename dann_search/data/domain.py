"""A domain: images of one label space with a content hash each, decoded only when packed."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
NO_LABEL = -1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Domain:
    """A named image set.

    Attributes:
        name: how tables call it.
        class_names: one a label, in label order.
        labels: label of each image, shape (n,); ``NO_LABEL`` where it has none.
        keys: hash of each image's content, the same on every machine, length n.
        decode: image number and side in pixels -> uint8 array of shape (3, side, side).
        places: where each image came from, for messages.
        splits: the split each image was given by its owner, length n; None to divide by ratio.
        remarks: what its reader has to be told, a sentence each.
        grey_bits: bits that the values of its 16-bit grey images use; None without such images.
        labelled: False for a target without any label but ``few``, whose classes are those of its
            source.
        few: for a target of whose training images some are labelled by their owner for training,
            which ones, shape (n,); None for any other domain.
    """

    name: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    keys: Sequence[str]
    decode: Callable[[int, int], Image]
    places: Sequence[str]
    splits: Sequence[str] | None = None
    remarks: tuple[str, ...] = ()
    grey_bits: int | None = None
    labelled: bool = True
    few: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Sequence[int]) -> Self:
        """Select images by their numbers, in this order; class names stay."""
        rows = list(rows)
        return replace(
            self,
            labels=self.labels[rows],
            keys=[self.keys[row] for row in rows],
            decode=lambda index, side: self.decode(rows[index], side),
            places=[self.places[row] for row in rows],
            splits=None if self.splits is None else [self.splits[row] for row in rows],
            few=None if self.few is None else self.few[rows],
        )

    def without_labels(self) -> Self:
        """Return the same images with neither labels nor classes."""
        bare = np.full(len(self), NO_LABEL, dtype=np.int64)
        return replace(self, class_names=(), labels=bare, labelled=False)

    def with_classes(self, names: Sequence[str], renamed: Mapping[str, str] | None = None) -> Self:
        """Return the same images under another list of class names.

        Classes in ``renamed`` get other names before; those not in the list get no label.
        """
        new = [(renamed or {}).get(name, name) for name in self.class_names]
        index = [names.index(name) if name in names else NO_LABEL for name in new]
        labels = np.array([*index, NO_LABEL])[self.labels]
        return replace(self, class_names=tuple(names), labels=labels)

    def class_of(self, row: int) -> str:
        """Return the class name of an image; empty where it has no label."""
        label = int(self.labels[row])
        return "" if label == NO_LABEL else self.class_names[label]

    def fingerprint(self) -> str:
        """Return a hash of all contents, class names and given splits, in this order."""
        splits = self.splits or [""] * len(self)
        return _hash(f"{key} {self.class_of(n)} {splits[n]}" for n, key in enumerate(self.keys))

    def split_hash(self, rows: NDArray[np.int64]) -> str:
        """Return a hash of the contents and class names of some images, in any order.

        It is the same on every machine, under any file names.
        """
        return _hash(sorted(f"{self.keys[row]} {self.class_of(row)}" for row in rows.tolist()))


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
