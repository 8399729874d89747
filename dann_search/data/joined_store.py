"""A store whose training splits are training and validation images together: for a refit alone.

Labels of the target are where they are in the store it is made of: of its validation images none is
trained on.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dann_search.data.domain import NO_LABEL
from dann_search.data.pixels import reserve
from dann_search.data.store import (
    FEW,
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
AT_ONCE = 256
"""Images copied at a time."""


@contextmanager
def write_joined_store(store: Path, folder: Path) -> Iterator[Path]:
    """Provide a store that joins both splits of ``store`` while the block lasts.

    Its validation splits are links to those of ``store``: what is measured on them is measured on
    images that were trained on. The test split is not in it.

    Args:
        store: the packed store of the search.
        folder: where the other one is put; the images of both splits are copied.

    Raises:
        InputError: there is no room for the copy.
    """
    shutil.rmtree(folder, ignore_errors=True)
    info = read_info(store)
    _check_room(store, folder)
    try:
        folder.mkdir(parents=True)
        for role in ROLES:
            _join_images(store, folder, role)
            (folder / f"{role}.val.images.npy").symlink_to(
                os.path.relpath(store / f"{role}.val.images.npy", folder)
            )
            if (labels := store / f"{role}.val.labels.npy").exists():
                (folder / labels.name).symlink_to(os.path.relpath(labels, folder))
        joined = [open_labels(store, "source", split) for split in JOINED]
        np.save(folder / "source.train.labels.npy", np.concatenate(joined))
        if (few := few_if_any(store)) is not None:
            unlabelled = np.full(info.sizes["target"]["val"], NO_LABEL)
            np.save(folder / FEW, np.concatenate([few, unlabelled]))
        (folder / INFO).write_text(json.dumps(asdict(_joined(info)), indent=1))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_room(store: Path, folder: Path) -> None:
    needed = sum(open_images(store, role, split).nbytes for role in ROLES for split in JOINED)
    place = next(parent for parent in folder.parents if parent.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"{folder}: training and validation images together take {needed / 2**30:.3g} GiB and "
            f"only {free / 2**30:.3g} GiB are free; make room"
        )


def _join_images(store: Path, folder: Path, role: str) -> None:
    parts = [open_images(store, role, split) for split in JOINED]
    path = folder / f"{role}.train.images.npy"
    joined = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(sum(map(len, parts)), *parts[0].shape[1:])
    )
    reserve(path)
    start = 0
    for part in parts:
        for first in range(0, len(part), AT_ONCE):
            rows = part[first : first + AT_ONCE]
            joined[start : start + len(rows)] = rows
            start += len(rows)
    joined.flush()


def _joined(info: StoreInfo) -> StoreInfo:
    sizes = {
        role: {"train": sum(info.sizes[role][split] for split in JOINED),
               "val": info.sizes[role]["val"]}
        for role in ROLES
    }  # fmt: skip
    hashes = {
        role: {"train": _together([info.hashes[role][split] for split in JOINED]),
               "val": info.hashes[role]["val"]}
        for role in ROLES
    }  # fmt: skip
    return replace(info, sizes=sizes, hashes=hashes)


def _together(hashes: list[str]) -> str:
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()
