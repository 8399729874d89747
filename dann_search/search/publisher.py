"""Keep an experiment behind a URL up to date while its driver works on a local copy."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.storage.driver_lock import TakenOver
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import reason_of
from dann_search.tracking.observer import Observer

EPOCHS_EVERY_S = 20.0
"""Seconds between uploads of running trials' epochs; trials that end are uploaded at once."""


class Publisher(Observer):
    """Uploads the study and the events after every trial, from a thread.

    If storage does not answer, the user is told, and the upload is repeated while the search
    continues.

    Args:
        folder: of the experiment.
        check: raises once another driver has taken over; then nothing is uploaded.
        tell: called with a line for the user.
    """

    def __init__(
        self,
        folder: ExperimentFolder,
        check: Callable[[], None],
        tell: Callable[[str], None],
    ):
        assert folder.remote
        self.folder, self.remote, self.check, self.tell = folder, folder.remote, check, tell
        self._sizes: dict[Path, int] = {}
        """Of files published. They only grow, so that a new size means new content."""
        self._due = threading.Event()
        self._closing = False
        self._last = 0.0
        self._failing = False
        self._thread = threading.Thread(target=self._keep_publishing, daemon=True, name="publisher")
        self._publish()  # what cannot be written is better known now
        self._thread.start()

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Publish the study after a trial starts."""
        self._due.set()

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Publish its epochs, at most every ``EPOCHS_EVERY_S`` seconds."""
        if time.monotonic() - self._last > EPOCHS_EVERY_S:
            self._due.set()

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Publish the final state."""
        self._due.set()

    def close(self) -> None:
        """Publish everything before returning.

        Raises:
            TakenOver: another driver has published its own.
            RunError: storage cannot be written.
        """
        self._closing = True
        self._due.set()
        self._thread.join()
        self._publish()

    def _keep_publishing(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._closing:
                return
            try:
                self._publish()
                self._failing = False
            except TakenOver:
                return  # the lock has ended the search; ``close`` says why
            except Exception as exc:  # of storage, or of this machine's disk
                if not self._failing:
                    self.tell(f"storage does not answer ({reason_of(exc)}); trying again")
                self._failing = True
                time.sleep(1.0)
                self._due.set()

    def _publish(self) -> None:
        folder = self.folder
        self._last = time.monotonic()
        study = consistent_copy(folder.study) if folder.study.exists() else None
        self.check()  # as late as can be: there is no taking back
        files = list(folder.extensions.glob("*.py"))  # before the record that names them
        files += [p for p in (folder.study_journal, folder.record) if p.exists()]
        files += [p for p in folder.tensorboard.rglob("*") if p.is_file()]
        files += folder.root.glob("trials/*/trial.json")
        sizes = {path: path.stat().st_size for path in files}
        folder.publish(*(path for path, size in sizes.items() if self._sizes.get(path) != size))
        self._remove_older_events(sizes.keys() - self._sizes.keys())
        self._sizes = sizes
        if study is not None:  # last: what it tells of is there
            self.remote.write_copy(folder.study.name, study)

    def _remove_older_events(self, new: Set[Path]) -> None:
        """Take away events of an earlier driver for runs that this one has written anew."""
        events = self.folder.tensorboard
        runs = {path.parent for path in new if path.is_relative_to(events)}
        if not runs:
            return
        there = {self.folder.root / name for name in self.remote.files(events.name)}
        older = [path for path in there if path.parent in runs and not path.exists()]
        self.remote.withdraw(*(path.relative_to(self.folder.root).as_posix() for path in older))


def consistent_copy(database: Path) -> bytes:
    """Return the content of an SQLite file at one moment, whoever is writing to it."""
    with (
        contextlib.closing(sqlite3.connect(database)) as source,
        contextlib.closing(sqlite3.connect(":memory:")) as copy,
    ):
        source.backup(copy)
        return copy.serialize()
