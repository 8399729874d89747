"""One driver an experiment: a lock that a crash frees, a heartbeat for other hosts, a way to stop.

The lock is an advisory lock on ``driver.lock``: it goes with the process, so a crash leaves nothing
in the way. Where storage is shared by machines that do not see each other's locks, or lies behind a
URL, the heartbeat written into it tells: whoever finds that of another driver waits to see whether
it continues, and a driver that finds another's in the place of its own stops. Machines' clocks
differ and a machine may sleep, so neither proves that a driver is dead.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import IO, Any, Self

from dann_search.errors import InputError, RunError
from dann_search.storage.file_lock import try_lock
from dann_search.storage.layout import ExperimentFolder

BEAT_S = 5.0
LOOK_S = 12.0
"""How long another driver's heartbeat must stand still for it to be dead: two beats are missing."""
FRESH_S = 30.0
"""A heartbeat of another machine that is younger tells people of a live driver there."""
READERS_S = 5.0
"""How long readers that look whether there is a driver may keep one from starting."""
ROOM = 2**16
"""Bytes that must have room before a search begins or continues."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class TakenOver(RunError):
    """Another driver is at work on the experiment, so this one must not write to it any more."""


class DriverLock:
    """Held by the driver while it searches and while it writes what it found.

    Attributes:
        stop_requested: set once ``request_stop`` was called, on whatever machine, or once another
            driver has taken over.
    """

    def __init__(self, folder: ExperimentFolder):
        self.folder, self.path = folder, folder.lock
        self.stop_requested = threading.Event()
        self._who = {"id": uuid.uuid4().hex, **_this_machine(), "pid": os.getpid()}
        self._taken_over: TakenOver | None = None
        self._file: IO[str] | None = None
        self._nothing_begun = False
        self._turn = threading.RLock()
        """No thread looks whose heartbeat it is while another writes it."""
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._keep_beating, daemon=True, name="driver-heartbeat"
        )

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            InputError: another driver holds it, or the folder is full or read-only.
            RunError: storage cannot be written.
        """
        try:
            self._take()
        except OSError as exc:
            raise InputError(
                f"{self.folder}: cannot be written: {exc.strerror}; make room or have it mended, "
                "then repeat the command"
            ) from None
        self._thread.start()
        return self

    def _take(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        file = open(self.path, "r+", encoding="utf-8")  # noqa: SIM115
        try:
            if not _taken(file) or _beats_on_elsewhere(self.folder):
                raise InputError(
                    f"{self.folder}: a search is already running on this experiment"
                    f"{_shown(_read_beat(self.folder))}; "
                    f"watch it with: dann-search status {self.folder}"
                )
            _require_room(self.path.parent)
            self._file = file
            self.folder.remove(self.folder.stop)
            self._beat()
        except BaseException:
            with contextlib.suppress(OSError):
                file.close()
            raise

    def __exit__(self, *exception: object) -> None:
        """Give the lock back and leave an empty file; one that is another's by now stays.

        After ``forget`` there is no file, either. A folder that cannot be written raises nothing:
        why the search ended is said already.
        """
        self._done.set()
        self._thread.join()
        assert self._file
        with contextlib.suppress(RunError, OSError), self._file:
            self.check()
            self.folder.remove(self.folder.stop)
            if self._nothing_begun:
                self.folder.remove(self.path)
                return
            if self.folder.remote:
                self.folder.remote.write(self.path.name, b"")
            self._file.truncate(0)

    def forget(self) -> None:
        """Take the lock's file away as well when the lock is given back: nothing was begun."""
        self._nothing_begun = True

    def note_trouble(self, line: str | None) -> None:
        """Have the next heartbeat say what the search waits for; None for nothing.

        It is not written at once: storage that does not answer would block the caller.
        """
        who = {name: value for name, value in self._who.items() if name != "trouble"}
        self._who = who if line is None else {**who, "trouble": line}

    def check(self) -> None:
        """To be called before anything is written that another driver may have written since.

        Raises:
            TakenOver: the heartbeat on storage is not this driver's: this one has slept, or was cut
                off from storage, and another machine continued.
            RunError: storage does not answer.
        """
        with self._turn:
            beat = {} if self._taken_over else _read_beat(self.folder)
            # A driver that took over and has ended left no heartbeat: that is not ours, either.
            if beat.get("id") != self._who["id"]:
                self._taken_over = self._taken_over or TakenOver(
                    f"{self.folder}: another driver{_shown(beat)} has taken over this experiment; "
                    "this one stops; what it trained since is not published; "
                    f"see: dann-search status {self.folder}"
                )
                self.stop_requested.set()
                raise self._taken_over

    def _beat(self) -> None:
        assert self._file
        line = json.dumps({**self._who, "time": time.time()})
        # One write, so that nobody finds the file empty; synced, for network file systems keep
        # what is written to themselves for long.
        self._file.seek(0)
        self._file.write(f"{line}\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        if self.folder.remote:
            self.folder.remote.write(self.path.name, line.encode())

    def _keep_beating(self) -> None:
        while not self._done.wait(BEAT_S):
            try:
                with self._turn:
                    self.check()
                    self._beat()
                remote, stop = self.folder.remote, self.folder.stop
                # One request; whether a file exists takes two.
                if remote.read(stop.name) is not None if remote else stop.exists():
                    self.stop_requested.set()
            except TakenOver:
                return
            except (OSError, RunError):
                continue  # storage that does not answer for a while must not end the search


def request_stop(folder: ExperimentFolder) -> None:
    """Ask the driver of an experiment, wherever it runs, to stop as after Ctrl-C."""
    if folder.remote:
        folder.remote.write(folder.stop.name, b"stop")
    else:
        folder.stop.touch()


def _this_machine() -> dict[str, str]:
    """Its name, and what tells it from others of that name: containers, clones."""
    try:
        boot = BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot = f"{uuid.getnode():x}"
    return {"host": socket.gethostname(), "boot": boot}


def _read_beat(folder: ExperimentFolder, here: bool = False) -> dict[str, Any]:
    """Return the heartbeat on storage, or the one ``here``; empty if no driver is there."""
    try:
        if folder.remote and not here:
            content = folder.remote.read(folder.lock.name) or b""
        else:
            content = folder.lock.read_bytes()
        # Only the first line: an earlier one, which was longer, may show behind it.
        beat = json.loads(content.partition(b"\n")[0].decode(errors="replace"))
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as exc:
        raise RunError(f"{folder.lock}: cannot be read: {exc.strerror}") from None
    return beat if isinstance(beat, dict) else {}


def _shown(beat: dict[str, Any]) -> str:
    return f" (process {beat.get('pid')} on {beat.get('host')})" if beat else ""


def _is_left_here(folder: ExperimentFolder, beat: dict[str, Any]) -> bool:
    """Whether its driver held the lock on this very file, so that a free lock means it is dead.

    Behind a URL every copy of the experiment has a lock of its own.
    """
    same_machine = _this_machine().items() <= beat.items()
    return same_machine and _read_beat(folder, here=True).get("id") == beat.get("id")


def _beats_on_elsewhere(folder: ExperimentFolder) -> bool:
    """Whether a driver whose lock is not seen here continues beating: known after ``LOOK_S``."""
    beat = now = _read_beat(folder)
    if not beat or _is_left_here(folder, beat):
        return False
    until = time.monotonic() + LOOK_S
    while now == beat and time.monotonic() < until:
        time.sleep(LOOK_S / 24)
        now = _read_beat(folder)
    return bool(now) and now != beat


def _taken(file: IO[str]) -> bool:
    """Take the lock unless another driver has it; readers have a shared one for a moment."""
    until = time.monotonic() + READERS_S
    while not try_lock(file):
        if not try_lock(file, fcntl.LOCK_SH) or time.monotonic() > until:
            return False
        fcntl.flock(file, fcntl.LOCK_UN)
        time.sleep(0.001)
    return True


def _require_room(folder: Path) -> None:
    """Write a little and remove it again, to fail now where the disk is full or read-only."""
    probe = folder / ".writable"
    try:
        probe.write_bytes(b"\1" * ROOM)
    finally:
        probe.unlink(missing_ok=True)


def trouble_of(folder: ExperimentFolder) -> str | None:
    """Return what a running search waits for, in words; None for nothing."""
    trouble = _read_beat(folder).get("trouble")
    return trouble if isinstance(trouble, str) else None


def driver_is_here(lock: Path) -> bool:
    """Whether a process of this machine holds the lock."""
    if not lock.exists():
        return False
    with open(lock, encoding="utf-8") as file, contextlib.suppress(OSError):
        return not try_lock(file, fcntl.LOCK_SH)
    return False  # where a file system has no locks, none is held


def driver_is_alive(folder: ExperimentFolder) -> bool:
    """Whether a driver is searching on the experiment, on whatever machine; told at once.

    Of another machine's it goes by both clocks. Nobody takes over because of it: the lock does not.

    Raises:
        RunError: storage does not answer.
    """
    if driver_is_here(folder.lock):
        return True
    beat = _read_beat(folder)
    when = beat.get("time")
    if not isinstance(when, int | float) or _is_left_here(folder, beat):
        return False
    return time.time() - when < FRESH_S
