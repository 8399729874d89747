"""Write to the storage and look for the data. Runs on every node."""

import contextlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

FOLDER = ".dann-search-doctor"


@dataclass(frozen=True)
class DataPlace:
    """A folder or file that a search reads.

    Attributes:
        key: its key in the experiment file.
        where: absolute path or URL.
        is_file: whether it is a file.
    """

    key: str
    where: str
    is_file: bool


@dataclass(frozen=True)
class Written:
    """The error of writing, empty if there was none, and whether the storage's folder was made."""

    error: str = ""
    made: bool = False


def write(storage: str, run: str, mark: str) -> Written:
    """Write a file under a temporary name, rename it, read it back."""
    made = False
    try:
        system, root = _system(storage)
        made = not system.exists(root)
        folder = f"{root}/{FOLDER}/{run}"
        system.makedirs(folder, exist_ok=True)
        system.pipe_file(f"{folder}/{mark}.new", mark.encode())
        system.mv(f"{folder}/{mark}.new", f"{folder}/{mark}")
        if system.cat_file(f"{folder}/{mark}") != mark.encode():
            return Written("what was written does not read back the same", made)
    # Each file system raises its own errors.
    except Exception as exc:
        return Written(_said(exc), made)
    return Written(made=made)


def marks(storage: str, run: str) -> tuple[str, ...]:
    """List the files of a run that this node sees."""
    try:
        system, root = _system(storage)
        system.invalidate_cache()
        names = system.ls(f"{root}/{FOLDER}/{run}", detail=False)
    except Exception:
        return ()
    return tuple(sorted(PurePosixPath(name).name for name in names))


def erase(storage: str, run: str, made: bool) -> None:
    """Remove the files of a run, and the storage's folder if it was made for them."""
    with contextlib.suppress(Exception):
        system, root = _system(storage)
        system.rm(f"{root}/{FOLDER}/{run}", recursive=True)
    # This fails while another doctor is at work, whose files are in the folder.
    with contextlib.suppress(Exception):
        system.rmdir(f"{root}/{FOLDER}")
        if made:
            system.rmdir(root)


def missing(places: tuple[DataPlace, ...]) -> dict[str, str]:
    """Say by key why this node cannot reach a place, for each that it cannot."""
    found = {}
    for place in places:
        try:
            system, path = _system(place.where)
            there = system.isfile(path) if place.is_file else _has_content(system, path)
            if not there:
                kind = "file" if place.is_file else "folder with anything in it"
                found[place.key] = f"no such {kind}: {place.where}"
        except Exception as exc:
            found[place.key] = f"{place.where}: {_said(exc)}"
    return found


def _has_content(system: Any, path: str) -> bool:
    return bool(system.isdir(path) and system.ls(path, detail=False))


def _system(place: str) -> tuple[Any, str]:
    import fsspec

    system, path = fsspec.core.url_to_fs(place)
    return system, str(path).rstrip("/")


def _said(exc: Exception) -> str:
    text = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {text[0]}" if text else type(exc).__name__
