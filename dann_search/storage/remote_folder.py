"""A folder behind a URL (s3://, gs://, …) with a copy of some of its files on this machine.

Object stores put a file as a whole or not at all, which is all that is asked of them here.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dann_search.errors import InputError, RunError, StorageError
from dann_search.storage.atomic_file import write_atomically


class UnknownStorageError(InputError):
    """A URL of a kind that nothing installed here can open."""


def cache_folder() -> Path:
    """Where copies of what lies elsewhere are kept: ``dann-search`` in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache.resolve() / "dann-search"  # a link on many clusters; paths are held against it


BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2", "tos", "cos"}
"""Kinds of object stores: they know no folders, and what would make one makes a bucket."""
AT_ONCE = 8
"""Requests at a time where their order does not matter."""
VERSIONS = ".versions.json"
"""In a copy: which version of each file it has."""


def is_url(place: str | Path) -> bool:
    """Whether a place is behind a URL rather than in the file system."""
    return "://" in str(place)


@dataclass(frozen=True)
class RemoteFolder:
    """Files of ``url``, those pulled or about to be pushed lying in ``local``."""

    url: str
    local: Path

    @classmethod
    def of(cls, url: str) -> "RemoteFolder":
        """With its copy in the user's cache folder, the same for the same URL."""
        url = url.rstrip("/")
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        return cls(url, cache_folder() / "experiments" / digest / url.rsplit("/", 1)[-1])

    def child(self, name: str) -> "RemoteFolder":
        """Return a folder in it."""
        return RemoteFolder(f"{self.url}/{name}", self.local / name)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        with self._reached("looked into") as system:
            return bool(system.exists(self._at(name)))

    def versions(self, names: Iterable[str]) -> dict[str, str | None]:
        """Return what changes whenever a file does, by name; None where there is no such file.

        It takes one request for each folder that the files are in.
        """
        found: dict[str, str | None] = dict.fromkeys(names)
        for parent in dict.fromkeys(name.rpartition("/")[0] for name in found):
            for entry in self._entries(parent):
                base = _base(entry)
                name = f"{parent}/{base}" if parent else base
                if name in found and entry["type"] == "file":
                    kept = ("ETag", "etag", "mtime", "LastModified", "created", "size")
                    found[name] = repr([(key, str(entry[key])) for key in kept if key in entry])
        return found

    def folders(self) -> list[str]:
        """Names of the folders in it."""
        return sorted(_base(entry) for entry in self._entries("") if entry["type"] == "directory")

    def _entries(self, name: str) -> list[dict[str, Any]]:
        """List what is directly in one of its folders; nothing where there is none."""
        with self._reached("listed") as system, contextlib.suppress(FileNotFoundError):
            system.invalidate_cache()
            return list(system.ls(self._at(name), detail=True))
        return []

    def files(self, name: str = "") -> list[str]:
        """Names of all files below one of its folders, relative to this one."""
        return sorted(self.sizes(name))

    def sizes(self, name: str = "") -> dict[str, int]:
        """Bytes of each of them."""
        with self._reached("listed") as system:
            system.invalidate_cache()
            root = f"{self._at('').rstrip('/')}/"
            return {
                path.removeprefix(root): int(info["size"])
                for path, info in system.find(self._at(name), detail=True).items()
                if path.startswith(root)
            }

    def read(self, name: str) -> bytes | None:
        """Content of a file; None where there is no such file."""
        with self._reached("read") as system, contextlib.suppress(FileNotFoundError):
            return bytes(system.cat_file(self._at(name)))
        return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file there as a whole."""
        with self._reached("written") as system:
            path = self._at(name)
            try:
                system.pipe_file(path, content)
            except OSError:
                if self.url.partition("://")[0].rpartition("::")[2].lower() in BUCKETS:
                    raise  # a bucket of that name must not be made: it may be mistyped
                system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                system.pipe_file(path, content)

    def write_copy(self, name: str, content: bytes) -> None:
        """Put a file there that is the present state of the copy's, which may be in use."""
        self.write(name, content)
        self._note_versions(self.versions([name]))

    def pull(self, names: Iterable[str]) -> None:
        """Make the copies of these files what the files are; of those that are not there, none."""
        self._bring(self.versions(names))

    def _bring(self, versions: dict[str, str | None]) -> None:
        def bring(name: str) -> None:
            place = self.local / name
            content = None if versions[name] is None else self.read(name)
            if content is None:
                place.unlink(missing_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(place, content)

        _each(bring, versions)
        self._note_versions(versions)

    def refresh(self, names: Iterable[str]) -> list[str]:
        """Pull those that somebody else has put there since; which they are.

        A copy that was changed here, after what is there was made here, stays.
        """
        known = self._versions()
        changed = {
            name: there
            for name, there in self.versions(names).items()
            if there != known.get(name) or (there and not (self.local / name).exists())
        }
        self._bring(changed)
        return list(changed)

    def known(self, name: str) -> list[str]:
        """Files below one of its folders that the copy has, as far as they came from there."""
        return [
            known
            for known, there in self._versions().items()
            if there and known.startswith(f"{name}/")
        ]

    def push(self, names: Iterable[str], *, at_once: bool = False) -> None:
        """Put these files of the copy there, each as a whole, in this order or all at once."""

        def put(name: str) -> None:
            self.write(name, (self.local / name).read_bytes())

        pushed = list(names)
        if at_once:
            _each(put, pushed)
        else:
            for name in pushed:
                put(name)
        self._note_versions(self.versions(pushed))

    def _versions(self) -> dict[str, str | None]:
        try:
            content: dict[str, str | None] = json.loads((self.local / VERSIONS).read_text())
        except (OSError, ValueError):
            return {}
        return content

    def _note_versions(self, versions: dict[str, str | None]) -> None:
        if versions:
            self.local.mkdir(parents=True, exist_ok=True)
            content = json.dumps({**self._versions(), **versions})
            write_atomically(self.local / VERSIONS, content.encode())

    def remove(self, name: str) -> None:
        """Take a file away, there and here."""
        self.withdraw(name)
        (self.local / name).unlink(missing_ok=True)

    def withdraw(self, *names: str) -> None:
        """Take files away there; the copies stay, to be pushed again."""

        def delete(name: str) -> None:
            with self._reached("written") as system, contextlib.suppress(FileNotFoundError):
                system.rm_file(self._at(name))

        _each(delete, names)

    def _at(self, name: str) -> str:
        path = self._opened()[1]
        return f"{path.rstrip('/')}/{name}" if name else path

    def _opened(self) -> tuple[Any, str]:
        import fsspec

        try:
            system, path = fsspec.core.url_to_fs(self.url)
        except ImportError as exc:
            raise UnknownStorageError(f"{self.url}: {exc}") from None
        except ValueError as exc:
            message = f"{self.url}: not a place that can be opened: {exc}"
            raise UnknownStorageError(message) from None
        return system, path

    @contextlib.contextmanager
    def _reached(self, what: str) -> Iterator[Any]:
        """Provide the file system; its errors say that the folder cannot be ``what``."""
        try:
            yield self._opened()[0]
        except (InputError, RunError):
            raise
        # Each file system has its own errors: botocore's, aiohttp's, gcsfs's, …
        except Exception as exc:
            reason = str(exc).strip().splitlines()[0] if str(exc).strip() else ""
            raise StorageError(
                f"{self.url}: cannot be {what}: {type(exc).__name__}: {reason}"
            ) from exc


def _each(action: Callable[[str], None], names: Iterable[str]) -> None:
    """Do it for each name, several at a time: at a distance nearly all of it is waiting."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(action, names):
            pass


def _base(entry: dict[str, Any]) -> str:
    name: str = entry["name"]
    return name.rstrip("/").rsplit("/", 1)[-1]
