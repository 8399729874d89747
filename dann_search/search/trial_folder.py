"""A trial's folder as a worker sees it: on this machine, and kept on storage behind a URL."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dann_search.storage.remote_folder import RemoteFolder, is_url


@dataclass
class TrialFolder:
    """Where a slot trains a trial: in the folder itself, or in a copy of one behind a URL."""

    place: str
    reader: int = 0
    """Each of several workers on one machine has a copy of its own."""

    def __post_init__(self) -> None:
        self.remote = None
        if is_url(self.place):
            remote = RemoteFolder.of(self.place)
            self.remote = RemoteFolder(remote.url, remote.local / f"reader-{self.reader}")
        self.local = self.remote.local if self.remote else Path(self.place)
        self._pushed: dict[str, int] = {}

    def open(self, names: Iterable[str]) -> Path:
        """Bring these files here, as they are there."""
        self.local.mkdir(parents=True, exist_ok=True)
        if self.remote:
            self.remote.pull(names)
        return self.local

    def discard(self, name: str) -> None:
        """Take a file of the trial away, here and there."""
        if self.remote:
            self.remote.remove(name)
        (self.local / name).unlink(missing_ok=True)

    def leave(self) -> None:
        """Forget the copy: nodes would fill up."""
        if self.remote:
            shutil.rmtree(self.local, ignore_errors=True)

    def keep(self, name: str) -> None:
        """Bring a file there, if it has changed."""
        path = self.local / name
        if self.remote is None or not path.exists():
            return
        time = path.stat().st_mtime_ns
        if self._pushed.get(name) != time:
            self.remote.write(name, path.read_bytes())
            self._pushed[name] = time
