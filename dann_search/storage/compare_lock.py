"""One comparison at a time on an experiment, and what one that was killed left behind."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from dann_search.errors import InputError
from dann_search.storage.layout import ExperimentFolder

LOCK = ".lock"


@contextmanager
def alone(folder: ExperimentFolder) -> Iterator[None]:
    """No two comparisons write the same checkpoints; the lock goes with the process.

    Raises:
        InputError: a comparison is running.
    """
    folder.compare.mkdir(parents=True, exist_ok=True)
    with open(folder.compare / LOCK, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{folder}: a comparison is already running on this experiment"
            ) from None
        yield


def left_labels(folder: ExperimentFolder) -> dict[str, int]:
    """Bytes of each file, by name, of the labelled stores that a killed comparison left.

    They never leave this machine, wherever storage is. To be called ``alone``.
    """
    places = (folder.supervised_data, folder.few_data)
    files = (path for place in places for path in place.glob("*") if not path.is_symlink())
    return {path.relative_to(folder.root).as_posix(): path.stat().st_size for path in files}


def remove_left_labels(folder: ExperimentFolder) -> None:
    """Take those stores away: labels of the target's training images. To be called ``alone``."""
    for place in (folder.supervised_data, folder.few_data):
        shutil.rmtree(place, ignore_errors=True)
