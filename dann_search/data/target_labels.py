"""All labels of the target's training images: for the upper bound of ``compare`` alone.

They are in no store of a search, but for the few that the user gave to training. This reads them
anew from where the domain came from; the import contracts keep search and training from it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dann_search.config.data import DataConfig
from dann_search.data.derived_store import VAL, derived_store
from dann_search.data.domain import NO_LABEL
from dann_search.data.open_domain import open_pair
from dann_search.data.splits import split_domain
from dann_search.data.store import read_info
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

    Raises:
        InputError: as ``target_train_labels``.
    """
    links = {
        "source.train.images": "target.train.images",
        "target.train.images": "source.train.images",
        "source.val.images": "target.val.images",
        "source.val.labels": "target.val.labels",
    }
    arrays = {"source.train.labels": [target_train_labels(config, store)]}
    with derived_store(store, folder, VAL | links, arrays):
        yield folder
