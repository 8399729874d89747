"""The labels of the target's training images: for the upper bound of ``compare`` alone.

They are in no store of a search. This reads them anew from where the domain came from; the import
contracts keep every room but results/ from it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dann_search.config.data import DataConfig
from dann_search.data.domain import NO_LABEL
from dann_search.data.fingerprint import split_hash
from dann_search.data.open_domain import open_pair
from dann_search.data.splits import split_domain
from dann_search.data.store import INFO, read_info
from dann_search.errors import InputError
from dann_search.storage.remote_folder import cache_folder


def target_train_labels(config: DataConfig, store: Path) -> NDArray[np.int64]:
    """Labels of the store's ``target.train`` images, in their order, shape (n,).

    Raises:
        InputError: some have no label, or the images are no longer those of the store.
    """
    info = read_info(store)
    target = open_pair(config, cache_folder()).target
    skipped = set(info.skipped)
    target = target.subset([row for row, key in enumerate(target.keys) if key not in skipped])
    rows = split_domain(target, config.splits_of("target"))["train"]
    if split_hash(target, rows) != info.hashes["target"]["train"]:
        raise InputError(
            f"domain {target.name}: its training images are no longer those that were searched, so "
            "their labels are not known; target_supervised needs the same images"
        )
    labels = target.labels[rows]
    if bare := int((labels == NO_LABEL).sum()):
        raise InputError(
            f"domain {target.name}: {bare} of its {len(labels)} training images have no label; "
            "target_supervised needs all of them"
        )
    return labels


@contextmanager
def write_supervised_store(config: DataConfig, store: Path, folder: Path) -> Iterator[Path]:
    """Provide a store whose source is the labelled target; remove it after the block.

    The former source takes the place of the target's training images: it is not looked at, but
    counted, so that an epoch has as many steps as any other method's.

    Args:
        config: of the data that ``store`` was packed from.
        store: the packed store.
        folder: where the other one is put: links to the images, and the labels.

    Raises:
        InputError: as ``target_train_labels``.
    """
    labels = target_train_labels(config, store)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        np.save(folder / "source.train.labels.npy", labels)
        for name, other in {
            "source.train.images": "target.train.images",
            "target.train.images": "source.train.images",
            "source.val.images": "target.val.images",
            "source.val.labels": "target.val.labels",
            "target.val.images": "target.val.images",
            "target.val.labels": "target.val.labels",
        }.items():
            place = os.path.relpath(store / f"{other}.npy", folder)
            (folder / f"{name}.npy").symlink_to(place)
        shutil.copy(store / INFO, folder / INFO)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
