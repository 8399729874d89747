"""Searches in processes of their own, to be watched, interrupted and killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dann_search.storage.layout import ExperimentFolder
from tests.experiments import epochs_in_study

LIMIT_S = 600
"""Against hangs. On a busy machine Ray takes a minute to start, and three nodes take several."""
STARTS_AT_ONCE = "RAY_worker_maximum_startup_concurrency", "2"
"""A variable for nodes of one CPU or none, on which Ray starts one process after another."""
COMMAND = "from dann_search.cli import entry_point; entry_point()"


def start(tmp_path: Path, *words: str, first: str = "") -> subprocess.Popen[str]:
    """A driver that can be found and killed with all it started; what it says is in ``said``.

    ``first`` is Python that is run in it before the command: it may leave it less patience.
    """
    program = ["-c", f"{first}\n{COMMAND}"] if first else ["-m", "dann_search.cli"]
    with (tmp_path / "stderr").open("ab") as stderr:
        return subprocess.Popen(
            [sys.executable, *program, *words, "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "DANN_TEST_MARK": str(tmp_path)},
        )


def said(tmp_path: Path) -> str:
    """The last of what drivers started there wrote on standard error: why one failed."""
    return (tmp_path / "stderr").read_text()[-4000:]


def folder_of_ray() -> tempfile.TemporaryDirectory[str]:
    """A folder for ``ray start --temp-dir``, its path short enough for the names of sockets.

    In its usual one, a head that is killed leaves its address behind: every run of Ray Train on the
    machine would ask there whether its controller lives, and end twelve seconds later.
    """
    return tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)


def kill_all(driver: subprocess.Popen[str], mark: str) -> None:
    """Kill the driver first, then every process that inherited its mark: Ray's own sessions too."""
    driver.kill()
    driver.wait()
    kill_marked(mark)


def kill_marked(mark: str) -> None:
    """Kill every process that inherited the mark."""
    while found := [pid for pid in marked(mark) if pid != os.getpid()]:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)


def marked(mark: str) -> list[int]:
    wanted = f"DANN_TEST_MARK={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if stat != "Z" and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def wait_for_epochs(folder: ExperimentFolder, count: int, driver: subprocess.Popen[Any]) -> None:
    """Until the study holds so many epochs, or the driver ended."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and driver.poll() is None:
        if epochs_in_study(folder) >= count:
            return
        time.sleep(0.2)
    raise AssertionError("too few epochs in time, or the search ended before it had so many")


def wait_for_words(log: Path, words: str, driver: subprocess.Popen[Any]) -> None:
    """Until a log says so, or the driver ended."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and driver.poll() is None:
        if log.exists() and words in log.read_text(errors="replace"):
            return
        time.sleep(0.2)
    raise AssertionError(f"{log} does not say: {words}")
