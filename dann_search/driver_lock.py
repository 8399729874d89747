"""One driver an experiment: a lock that a crash frees, and a heartbeat for other hosts."""

import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dann_search.errors import InputError

BEAT_S = 5.0
FRESH_S = 30.0
"""A heartbeat from another host that is younger means a live driver there."""


class DriverLock:
    """Held by the driver while it searches.

    The lock is an advisory lock on ``driver.lock``: it goes with the process, so a crash leaves
    nothing in the way. Where storage is shared by hosts that do not see each other's locks, the
    heartbeat written into it tells.
    """

    def __init__(self, root: Path):
        self.path = root / "driver.lock"
        self._file: IO[str] | None = None
        self._done = threading.Event()

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            InputError: another driver holds it.
        """
        file = open(self.path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise self._refusal() from None
        if _beats_elsewhere(self.path):
            file.close()
            raise self._refusal()
        self._file = file
        self._beat()
        threading.Thread(target=self._keep_beating, daemon=True, name="driver-heartbeat").start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back and leave an empty file."""
        self._done.set()
        if self._file:
            self._file.truncate(0)
            self._file.close()

    def _refusal(self) -> InputError:
        owner = _owner(self.path)
        who = f" (process {owner.get('pid')} on {owner.get('host')})" if owner else ""
        return InputError(
            f"{self.path.parent}: a search is already running on this experiment{who}; "
            f"watch it with: dann-search status {self.path.parent}"
        )

    def _beat(self) -> None:
        assert self._file
        self._file.seek(0)
        self._file.truncate()
        json.dump(
            {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}, self._file
        )
        self._file.flush()

    def _keep_beating(self) -> None:
        while not self._done.wait(BEAT_S):
            self._beat()


def _owner(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _beats_elsewhere(path: Path) -> bool:
    owner = _owner(path)
    beat = owner.get("time")
    return (
        isinstance(beat, int | float)
        and owner.get("host") != socket.gethostname()
        and time.time() - beat < FRESH_S
    )


def driver_is_alive(root: Path) -> bool:
    """Whether a driver is searching on the experiment in ``root``."""
    path = root / "driver.lock"
    if not path.exists():
        return False
    with open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return _beats_elsewhere(path)
