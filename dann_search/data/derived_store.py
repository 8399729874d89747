"""Stores made of another one for as long as a block lasts: for refits and for comparisons.

Each holds links to files of the other store and a few files of its own. A test split is in none.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dann_search.data.domain import NO_LABEL
from dann_search.data.pixels import reserve
from dann_search.data.store import (
    INFO,
    ROLES,
    StoreInfo,
    few_if_any,
    open_images,
    open_labels,
    read_info,
)
from dann_search.errors import InputError

JOINED = ("train", "val")
VAL = {name: name for role in ROLES for name in (f"{role}.val.images", f"{role}.val.labels")}
"""Links to the validation splits."""
AT_ONCE = 256
"""Rows copied at a time."""


@contextmanager
def derived_store(
    store: Path,
    folder: Path,
    links: Mapping[str, str],
    arrays: Mapping[str, Sequence[NDArray[Any]]],
    info: StoreInfo | None = None,
) -> Iterator[Path]:
    """Provide a store of these files; remove it after the block.

    Args:
        store: the packed store that it is made of.
        folder: where the other one is put.
        links: files of ``store``, by their names in ``folder``, without suffix; those that it has.
        arrays: files of its own, by name: each is these arrays one after the other.
        info: what it holds; by default what ``store`` holds.

    Raises:
        InputError: there is no room.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        for name, parts in arrays.items():
            _write(folder / f"{name}.npy", parts)
        for name, other in links.items():
            if (file := store / f"{other}.npy").exists():
                (folder / f"{name}.npy").symlink_to(os.path.relpath(file, folder))
        (folder / INFO).write_text(json.dumps(asdict(info or read_info(store)), indent=1))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, parts: Sequence[NDArray[Any]]) -> None:
    """Write arrays into one, some rows at a time: those of images are larger than the memory."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    whole = np.lib.format.open_memmap(path, mode="w+", dtype=parts[0].dtype, shape=shape)
    reserve(path)
    start = 0
    for part in parts:
        for first in range(0, len(part), AT_ONCE):
            rows = part[first : first + AT_ONCE]
            whole[start : start + len(rows)] = rows
            start += len(rows)
    whole.flush()


@contextmanager
def write_joined_store(store: Path, folder: Path) -> Iterator[Path]:
    """Provide a store whose training splits are the training and validation images of ``store``.

    Labels of the target are where they are in ``store``: of its validation images none is trained
    on. Its validation splits are those of ``store``: what is measured on them is measured on images
    that were trained on.

    Raises:
        InputError: there is no room for a copy of the images.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a refit that was killed: its room is needed
    info = read_info(store)
    images = {
        f"{role}.train.images": [open_images(store, role, split) for split in JOINED]
        for role in ROLES
    }
    needed = sum(part.nbytes for parts in images.values() for part in parts)
    free = shutil.disk_usage(next(parent for parent in folder.parents if parent.exists())).free
    if needed > free:
        raise InputError(
            f"{folder}: training and validation images together take {needed / 2**30:.3g} GiB and "
            f"only {free / 2**30:.3g} GiB are free; make room"
        )
    arrays: dict[str, list[NDArray[Any]]] = {**images}
    arrays["source.train.labels"] = [open_labels(store, "source", split) for split in JOINED]
    if (few := few_if_any(store)) is not None:
        arrays["target.train.few"] = [few, np.full(info.sizes["target"]["val"], NO_LABEL)]
    with derived_store(store, folder, VAL, arrays, _joined(info)):
        yield folder


def _joined(info: StoreInfo) -> StoreInfo:
    sizes, hashes = {}, {}
    for role in ROLES:
        size, content = info.sizes[role], info.hashes[role]
        both = " ".join(content[split] for split in JOINED)
        sizes[role] = {"train": sum(size[split] for split in JOINED), "val": size["val"]}
        hashes[role] = {"train": hashlib.sha256(both.encode()).hexdigest(), "val": content["val"]}
    return replace(info, sizes=sizes, hashes=hashes)


@contextmanager
def write_few_store(store: Path, folder: Path) -> Iterator[Path]:
    """Provide a store whose source are the target's few labelled images.

    No label is in it that training does not see in ``store``, which has ``data.target.labels``. The
    larger training split takes the place of the target's: it is not looked at, but counted, so that
    an epoch has as many steps as any other method's.
    """
    few = few_if_any(store)
    assert few is not None
    rows = np.flatnonzero(few != NO_LABEL)
    sizes = read_info(store).sizes
    larger = max(ROLES, key=lambda role: sizes[role]["train"])
    links = VAL | {"target.train.images": f"{larger}.train.images"}
    arrays: dict[str, list[NDArray[Any]]] = {
        "source.train.images": [open_images(store, "target", "train")[rows]],
        "source.train.labels": [few[rows]],
    }
    with derived_store(store, folder, links, arrays):
        yield folder
