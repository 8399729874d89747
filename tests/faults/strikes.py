"""Signals to the processes of a search, at moments drawn from a seed."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dann_search.storage.layout import ExperimentFolder
from tests.drivers import LIMIT_S, marked
from tests.experiments import epochs_in_study

DRIVER, WORKER = "driver", "RayTrainWorker"


@dataclass(frozen=True)
class Strike:
    """What is done to one process of a search.

    Attributes:
        process: the driver, or a word in the first argument of the process.
        number: signal that it gets.
        then: another signal it gets later.
        after_s: seconds until then, and until the next strike.
        ends: exit codes with which the driver may end because of it; None if it must continue.
        workers: of a trial.
    """

    process: str
    number: signal.Signals = signal.SIGKILL
    then: signal.Signals | None = None
    after_s: float = 0.0
    ends: tuple[int, ...] | None = None
    workers: int = 1

    def hit(self, driver: subprocess.Popen[str], mark: str, rng: random.Random) -> bool:
        """Strike one process of the search; return whether there was one."""
        if self.process == DRIVER:
            pids = [driver.pid] if driver.poll() is None else []
        else:
            pids = named(self.process, mark)
        if not pids:
            return False
        pid = rng.choice(pids)
        with suppress(ProcessLookupError):
            os.kill(pid, self.number)
            time.sleep(self.after_s)
            if self.then is not None:
                os.kill(pid, self.then)
        return True


def named(word: str, mark: str) -> list[int]:
    """Return the marked processes whose first argument has a word in it, in order."""
    found = []
    for pid in marked(mark):
        with suppress(OSError):
            first = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
            if word.encode() in first:
                found.append(pid)
    return sorted(found)


def await_moment(
    driver: subprocess.Popen[str], folder: ExperimentFolder, rng: random.Random
) -> bool:
    """Wait for one to four more epochs and a moment; return whether the driver still runs."""
    wanted = epochs_in_study(folder) + rng.randint(1, 4)
    until = time.monotonic() + LIMIT_S
    while driver.poll() is None and epochs_in_study(folder) < wanted and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(rng.uniform(0, 0.5))
    return driver.poll() is None
