"""End a worker that makes no progress: its group restarts and its trial continues.

A thread beside the training does so, and tells the dispatcher that its process lives: a process
that is frozen as a whole can only be missed by others.
"""

import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

STALLED = 86
"""Exit status of a worker ended by its watchdog."""
HEARTBEAT_S = 1.0
"""Seconds between two signs of life to the dispatcher."""
TELL_S = 1.0
"""How long a process stays to have its last message sent."""


class Watchdog:
    """Ends its process after ``timeout_s`` seconds of training without a beat.

    Args:
        timeout_s: the setting ``resources.stall_timeout_s``.
        alive: called all the while, every ``HEARTBEAT_S`` seconds.
        stalled: called before the end with the reason, and whether storage is to blame.
    """

    def __init__(
        self,
        timeout_s: float,
        alive: Callable[[], None] = lambda: None,
        stalled: Callable[[str, bool], None] = lambda why, of_storage: None,
    ):
        self.timeout_s, self.alive, self.stalled = timeout_s, alive, stalled
        self._training, self._storage = _Watched(), _Watched()
        thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        thread.start()

    def beat(self) -> None:
        """Note progress of the training; the next beat is due within the timeout."""
        self._training.beat()

    def rest(self) -> None:
        """Expect no progress of the training until the next beat."""
        self._training.resting = True

    @contextlib.contextmanager
    def on_storage(self) -> Iterator[None]:
        """Watch a call of storage, to blame if it hangs; training may continue beside it."""
        self._storage.beat()
        try:
            yield
        finally:
            self._storage.resting = True

    def _watch(self) -> None:
        # Turns are counted, not seconds: a process that was stopped for a while gets its time back.
        turn_s = min(HEARTBEAT_S, self.timeout_s / 4)
        while True:
            time.sleep(turn_s)
            with contextlib.suppress(Exception):  # the search is over, and this worker with it
                self.alive()
            for watched in (self._storage, self._training):
                if watched.quiet_s(turn_s) > self.timeout_s:
                    self._end(on_storage=watched is self._storage)

    def _end(self, *, on_storage: bool) -> None:
        why = stalled_for(self.timeout_s, "storage did not answer" if on_storage else "")
        print(f"{why}; ending this worker", file=sys.stderr)
        faulthandler.dump_traceback(all_threads=True)
        with contextlib.suppress(Exception):
            self.stalled(why, on_storage)
        time.sleep(TELL_S)
        os._exit(STALLED)


class _Watched:
    """What is to make progress unless it rests."""

    def __init__(self) -> None:
        self.resting = True
        self._beats, self._seen, self._quiet_s = 0, 0, 0.0

    def beat(self) -> None:
        self._beats += 1
        self.resting = False

    def quiet_s(self, turn_s: float) -> float:
        """Return the seconds without a beat, ``turn_s`` after they were asked for before."""
        if self.resting or self._beats != self._seen:
            self._seen, self._quiet_s = self._beats, 0.0
        else:
            self._quiet_s += turn_s
        return self._quiet_s


def stalled_for(timeout_s: float, what: str = "") -> str:
    """Say that nothing happened for longer than the setting allows."""
    return (
        f"{what or 'it made no progress'} for {timeout_s:g} s, the limit in "
        f"resources.stall_timeout_s"
    )
