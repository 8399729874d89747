"""End a worker that makes no progress: its group restarts and its trial goes on."""

import faulthandler
import os
import sys
import threading
import time

STALLED = 86
"""Exit status of a worker ended by its watchdog."""


class Watchdog:
    """Ends its process after ``timeout_s`` seconds of training without a step."""

    def __init__(self, timeout_s: float):
        self.timeout_s = timeout_s
        self._last: float | None = None
        thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        thread.start()

    def beat(self) -> None:
        """Note progress; the next step is due within the timeout."""
        self._last = time.monotonic()

    def rest(self) -> None:
        """Expect nothing until the next beat."""
        self._last = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self.timeout_s / 4))
            last = self._last
            if last is not None and time.monotonic() - last > self.timeout_s:
                print(f"no step for {self.timeout_s:g} s; ending this worker", file=sys.stderr)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(STALLED)
