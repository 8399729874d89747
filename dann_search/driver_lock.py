"""One driver an experiment: a lock that a crash frees, a heartbeat for other hosts, a way to stop.

The lock is an advisory lock on ``driver.lock``: it goes with the process, so a crash leaves nothing
in the way. Where storage is shared by hosts that do not see each other's locks, or lies behind a
URL, the heartbeat written into it tells.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from dann_search.errors import InputError, RunError
from dann_search.layout import ExperimentFolder

BEAT_S = 5.0
FRESH_S = 30.0
"""A heartbeat from another host that is younger means a live driver there."""


class DriverLock:
    """Held by the driver while it searches.

    Attributes:
        stop_requested: set once ``request_stop`` was called, on whatever machine.
    """

    def __init__(self, folder: ExperimentFolder):
        self.folder, self.path = folder, folder.lock
        self.stop_requested = threading.Event()
        self._file: IO[str] | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._keep_beating, daemon=True, name="driver-heartbeat"
        )

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            InputError: another driver holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise self._refusal() from None
        if _beats_elsewhere(self.folder):
            file.close()
            raise self._refusal()
        self._file = file
        _remove_stop(self.folder)
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back and leave an empty file."""
        self._done.set()
        self._thread.join()
        if self._file:
            self._file.truncate(0)
            self._file.close()
        if self.folder.remote:
            with contextlib.suppress(RunError):
                self.folder.remote.write(self.path.name, b"")
        with contextlib.suppress(RunError):
            _remove_stop(self.folder)

    def _refusal(self) -> InputError:
        owner = _owner(self.folder)
        who = f" (process {owner.get('pid')} on {owner.get('host')})" if owner else ""
        return InputError(
            f"{self.folder}: a search is already running on this experiment{who}; "
            f"watch it with: dann-search status {self.folder}"
        )

    def _beat(self) -> None:
        assert self._file
        beat = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        self._file.seek(0)
        self._file.truncate()
        json.dump(beat, self._file)
        self._file.flush()
        if self.folder.remote:
            self.folder.remote.write(self.path.name, json.dumps(beat).encode())

    def _keep_beating(self) -> None:
        while not self._done.wait(BEAT_S):
            # Storage that does not answer for a while must not end the search.
            with contextlib.suppress(OSError, RunError):
                self._beat()
                if _stop_exists(self.folder):
                    self.stop_requested.set()


def request_stop(folder: ExperimentFolder) -> None:
    """Ask the driver of an experiment, wherever it runs, to stop as after Ctrl-C."""
    if folder.remote:
        folder.remote.write(folder.stop.name, b"stop")
    else:
        folder.stop.touch()


def _stop_exists(folder: ExperimentFolder) -> bool:
    return folder.remote.exists(folder.stop.name) if folder.remote else folder.stop.exists()


def _remove_stop(folder: ExperimentFolder) -> None:
    if folder.remote:
        folder.remote.remove(folder.stop.name)
    folder.stop.unlink(missing_ok=True)


def _owner(folder: ExperimentFolder) -> dict[str, Any]:
    """Who wrote the last heartbeat, and when."""
    try:
        text: str | bytes = folder.lock.read_text(encoding="utf-8")
        if folder.remote:
            text = folder.remote.read(folder.lock.name) or b""
        content = json.loads(text)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _beats_elsewhere(folder: ExperimentFolder) -> bool:
    owner = _owner(folder)
    beat = owner.get("time")
    return (
        isinstance(beat, int | float)
        and owner.get("host") != socket.gethostname()
        and time.time() - beat < FRESH_S
    )


def driver_is_here(lock: Path) -> bool:
    """Whether a process of this machine holds the lock."""
    if not lock.exists():
        return False
    with open(lock, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def driver_is_alive(folder: ExperimentFolder) -> bool:
    """Whether a driver is searching on the experiment, on whatever machine."""
    return driver_is_here(folder.lock) or _beats_elsewhere(folder)
