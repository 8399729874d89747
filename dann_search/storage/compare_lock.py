"""One comparison at a time on an experiment, and what one that was killed left behind."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from dann_search.errors import InputError
from dann_search.storage.file_lock import try_lock
from dann_search.storage.layout import ExperimentFolder


@contextmanager
def alone(folder: ExperimentFolder) -> Iterator[None]:
    """Hold the lock of the experiment's comparison: two would write the same checkpoints.

    Raises:
        InputError: a comparison is running, or the file system has no locks.
    """
    folder.compare.mkdir(parents=True, exist_ok=True)
    with open(folder.compare / ".lock", "a") as file:
        try:
            taken = try_lock(file)
        except OSError as exc:
            raise InputError(f"{folder}: cannot be locked: {exc.strerror}") from None
        if not taken:
            raise InputError(f"{folder}: a comparison is already running on this experiment")
        yield


def left_labels(folder: ExperimentFolder) -> dict[str, int]:
    """Bytes of each file, by name, of the labelled stores that a killed comparison left.

    They never leave this machine, wherever storage is. Call it while ``alone``.
    """
    places = (folder.supervised_data, folder.few_data)
    files = (path for place in places for path in place.glob("*") if not path.is_symlink())
    return {path.relative_to(folder.root).as_posix(): path.stat().st_size for path in files}


def remove_left_labels(folder: ExperimentFolder) -> None:
    """Delete those stores: they hold labels of the target's training images. Call it ``alone``."""
    for place in (folder.supervised_data, folder.few_data):
        shutil.rmtree(place, ignore_errors=True)
