"""All labels of the target's training images: for the upper bound of ``compare`` alone.

They are in no store of a search, but for the few that the user gave to training. This reads them
anew from where the domain came from; the import contracts keep every room but results/ from it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dann_search.config.data import DataConfig
from dann_search.data.domain import NO_LABEL
from dann_search.data.open_domain import open_pair
from dann_search.data.splits import split_domain
from dann_search.data.store import INFO, ROLES, few_if_any, open_images, read_info
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
    if target.split_hash(rows) != info.hashes["target"]["train"]:
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
    links = {
        "source.train.images": "target.train.images",
        "target.train.images": "source.train.images",
        "source.val.images": "target.val.images",
        "source.val.labels": "target.val.labels",
    }
    with _written(store, folder, links, {"source.train.labels": labels}):
        yield folder


@contextmanager
def write_few_store(store: Path, folder: Path) -> Iterator[Path]:
    """Provide a store whose source are the target's few labelled images; remove it after the block.

    No label is in it that training does not see in ``store``. The larger training split takes the
    place of the target's: it is not looked at, but counted, so that an epoch has as many steps as
    any other method's.

    Args:
        store: the packed store of a search with ``data.target.labels``.
        folder: where the other one is put: the few images and their labels, links to the others.
    """
    few = few_if_any(store)
    assert few is not None
    rows = np.flatnonzero(few != NO_LABEL)
    new: dict[str, NDArray[Any]] = {
        "source.train.images": open_images(store, "target", "train")[rows],
        "source.train.labels": few[rows],
    }
    sizes = read_info(store).sizes
    larger = max(ROLES, key=lambda role: sizes[role]["train"])
    links = {"target.train.images": f"{larger}.train.images"}
    links |= {name: name for name in ("source.val.images", "source.val.labels")}
    with _written(store, folder, links, new):
        yield folder


@contextmanager
def _written(
    store: Path, folder: Path, links: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]
) -> Iterator[None]:
    """Have a store of these files and the target's val split, as long as the block lasts.

    Args:
        store: the packed store.
        folder: of the other one.
        links: files that are those of ``store``, by name, without suffix.
        arrays: contents of its own, by name.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    val = {name: name for name in ("target.val.images", "target.val.labels")}
    try:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        for name, other in {**links, **val}.items():
            place = os.path.relpath(store / f"{other}.npy", folder)
            (folder / f"{name}.npy").symlink_to(place)
        shutil.copy(store / INFO, folder / INFO)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
