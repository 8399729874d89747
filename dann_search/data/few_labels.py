"""Labels of a few training images of the target, which training may see: ``data.target.labels``.

No other label of the target's training images leaves this file.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dann_search.config.data import DataConfig
from dann_search.config.source import SettingError
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.splits import contents_by_class
from dann_search.errors import InputError, nearest

TRAIN = ("data", "target", "labels", "train")


def with_few_alone(target: Domain, config: DataConfig) -> Domain:
    """Return a target whose val and test have no labels, with those that training may see.

    All other labels are removed. ``split_domain`` puts the images that keep theirs into train.

    Raises:
        SettingError: as ``few_labels``.
    """
    labels = config.target.labels
    if labels is None or target.few is not None:
        return target
    given = np.array(target.splits or ["train"] * len(target))
    rows = np.flatnonzero((target.labels != NO_LABEL) & (given == "train"))
    few = np.zeros(len(target), dtype=bool)
    few[_chosen(target, rows, config)] = True
    return replace(target, labels=np.where(few, target.labels, NO_LABEL), few=few)


def few_labels(target: Domain, rows: NDArray[np.int64], config: DataConfig) -> NDArray[np.int64]:
    """Return the label of each training image, ``NO_LABEL`` where training may not see it.

    Args:
        target: the target's images.
        rows: numbers of those of its training split, (n,).
        config: of the data; its ``target.labels`` says which labels.

    Raises:
        SettingError: a class has fewer labelled images than are asked for, or none has a label.
    """
    if target.few is not None:
        kept = rows[target.few[rows]]
    else:
        kept = _chosen(target, rows[target.labels[rows] != NO_LABEL], config)
    if not len(kept):
        raise InputError(f"domain {target.name}: none of its training images has a label")
    return np.where(np.isin(rows, kept), target.labels[rows], NO_LABEL)


def check_classes(few: Domain, names: Sequence[str], owner: str) -> None:
    """Refuse labelled images of a class that is not among ``names``, those of ``owner``."""
    for name in few.class_names:
        if name not in names:
            raise InputError(
                f"domain {few.name}: class '{name}' of its labelled training images is none of "
                f"{owner}; {nearest(name, names)}"
            )


def _chosen(target: Domain, rows: NDArray[np.int64], config: DataConfig) -> NDArray[np.int64]:
    """Return those of the labelled images ``rows`` that ``labels.train`` asks for.

    Of each class, distinct contents are ordered by a seeded hash, as splits are: the same images on
    every machine, whatever their files are called.
    """
    assert config.target.labels is not None
    wanted = config.target.labels.train
    if not isinstance(wanted, int):
        return rows
    by_class = contents_by_class(target, rows)
    counts = [len(by_class[label]) for label in range(len(target.class_names))]
    if min(counts) < wanted:
        name = target.class_names[int(np.argmin(counts))]
        enough = f"at most {min(counts)}, or all" if min(counts) else "all"
        raise SettingError(
            TRAIN,
            f"class '{name}' of {target.name} has {min(counts)} distinct labelled images to train "
            f"on, and {wanted} are asked for; ask for {enough}",
        )
    seed = config.splits_of("target").seed
    kept = [
        min(contents[key], key=lambda row: int(target.labels[row]))
        for contents in by_class.values()
        for key in sorted(contents, key=lambda key: _seeded(key, seed))[:wanted]
    ]
    return np.array(sorted(kept), dtype=np.int64)


def _seeded(key: str, seed: int) -> str:
    # Another order than that of splits, which would take the first of each class.
    return hashlib.sha256(f"{seed}:few:{key}".encode()).hexdigest()
