"""A domain from one of torchvision's data sets, with its official test images as the test split."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from dann_search.data.decode import decode_image
from dann_search.data.domain import Domain, Image
from dann_search.errors import InputError

DIGITS = tuple(str(digit) for digit in range(10))
SETS = {
    "cifar10": "CIFAR10",
    "stl10": "STL10",
    "mnist": "MNIST",
    "usps": "USPS",
    "svhn": "SVHN",
    "fashion_mnist": "FashionMNIST",
}
"""Our names and torchvision's. CIFAR-10 is the one saved as pickles: torchvision opens them only
where their checksums are those of the published files."""


def load_torchvision_domain(name: str, root: Path) -> Domain:
    """Open a data set below ``root``, downloading it where it is not there yet.

    Raises:
        InputError: it is neither there nor to be had.
    """
    parts = {split: _open(name, root, split) for split in ("train", "test")}
    # Several readers give the official names; those of digits write "0 - zero", or nothing.
    classes = DIGITS if name in ("mnist", "usps", "svhn") else tuple(parts["train"].classes)
    rows = [(split, row) for split, part in parts.items() for row in range(len(part))]

    def image(number: int) -> PILImage.Image:
        split, row = rows[number]
        opened: PILImage.Image = parts[split][row][0]
        return opened

    def decode(number: int, side: int) -> Image:
        return decode_image(image(number), side)

    return Domain(
        name=name,
        class_names=classes,
        labels=np.concatenate([_labels(part) for part in parts.values()]),
        keys=[hashlib.sha256(image(number).tobytes()).hexdigest() for number in range(len(rows))],
        decode=decode,
        places=[f"{name} {split} image {row}" for split, row in rows],
        splits=[split for split, _ in rows],
    )


def _labels(part: Any) -> Any:
    return np.asarray(part.labels if hasattr(part, "labels") else part.targets, dtype=np.int64)


def _open(name: str, root: Path, split: str) -> Any:
    from dann_search.data.torchvision_shim import torchvision

    make: Callable[..., Any] = getattr(torchvision.datasets, SETS[name])
    which = {"split": split} if name in ("stl10", "svhn") else {"train": split == "train"}
    try:
        return make(str(root), **which)
    except (RuntimeError, OSError):  # not there, or not whole
        pass
    try:
        return make(str(root), **which, download=True)
    except (RuntimeError, OSError, ValueError) as exc:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise InputError(
            f"{name}: its {split} images are not below {root} and cannot be downloaded ({reason}); "
            f"put them there as torchvision.datasets.{SETS[name]}(root, download=True) lays them "
            "out on a machine with network"
        ) from None
