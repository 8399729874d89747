"""Folders and files behind URLs (s3://, gs://, …), copied to this node once."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from dann_search.errors import InputError

DONE = "copied.json"
"""Beside a copy: the names and sizes of what was copied, written when all of it is there."""


def local_copy(url: str, cache: Path) -> Path:
    """Return a local copy of what lies at ``url``; fetch it unless the content is here already.

    The files' names and sizes tell whether a copy is still that of the URL's content.

    Args:
        url: of a file or of a folder; credentials come from where fsspec's file system takes them.
        cache: folder of the copies.

    Raises:
        InputError: nothing there, no access, or no package for that kind of URL.
    """
    import fsspec

    url = url.rstrip("/")
    try:
        system, path = fsspec.core.url_to_fs(url)
        files = _listing(system, path)
    except ImportError as exc:
        raise InputError(f"{url}: {exc}") from None
    # Each file system has its own errors: botocore's, aiohttp's, gcsfs's, …
    except Exception as exc:
        raise InputError(f"{url}: cannot be listed: {type(exc).__name__}: {exc}") from None
    if not files:
        raise InputError(f"{url}: nothing there")
    home = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    content = home / PurePosixPath(path).name
    record = json.dumps(files, sort_keys=True)
    if not (home / DONE).is_file() or (home / DONE).read_text() != record:
        _copy(system, path, files, home, url)
        (home / DONE).write_text(record)
    return content


def local_manifest(place: str | Path, cache: Path) -> Path:
    """Fetch a manifest behind a URL with the folder around it, where its images lie."""
    if isinstance(place, Path):
        return place
    folder, _, name = place.rpartition("/")
    return local_copy(folder, cache) / PurePosixPath(name).name


def _listing(system: Any, path: str) -> dict[str, int]:
    """Size of each file, by its path relative to ``path``."""
    found = system.find(path, detail=True)
    root = PurePosixPath(path)
    sizes = {}
    for name, info in found.items():
        relative = PurePosixPath(name).relative_to(root)
        if ".." in relative.parts:
            raise ValueError(f"a path that leads outside: {name}")
        sizes[str(relative)] = int(info["size"])
    return sizes


def _copy(system: Any, path: str, files: dict[str, int], home: Path, url: str) -> None:
    """Copy beside the place and rename there: no process ever sees half a copy."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".copying-") as name:
            new = Path(name) / "copy"
            target = new / PurePosixPath(path).name
            places = {relative: target / relative for relative in files}
            for place in places.values():
                place.parent.mkdir(parents=True, exist_ok=True)
            remote = [path if relative == "." else f"{path}/{relative}" for relative in files]
            # All in one call: object stores are read many files at a time.
            system.get(remote, [str(place) for place in places.values()])
            shutil.rmtree(home, ignore_errors=True)
            os.rename(new, home)
    # The file system's own errors once more, and a full or read-only disk here.
    except Exception as exc:
        raise InputError(f"{url}: cannot be copied: {type(exc).__name__}: {exc}") from None
