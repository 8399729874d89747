"""A domain: images of one label space with a content hash each, decoded only when packed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Domain:
    """A named image set.

    Attributes:
        name: how tables call it.
        class_names: one a label, in label order.
        labels: label of each image, shape (n,).
        keys: hash of each image's content, the same on every machine, length n.
        decode: image number and side in pixels -> uint8 array of shape (3, side, side).
        places: where each image came from, for messages.
    """

    name: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    keys: Sequence[str]
    decode: Callable[[int, int], Image]
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)
