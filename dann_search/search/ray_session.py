"""Start and end Ray for a search; its output goes to a log file, not to the terminal."""

import contextlib
import io
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from dann_search.search.authentication import close_token_file, do_as_the_cluster_does
from dann_search.search.fatal_exit import before_the_end, end_now
from dann_search.search.head_watch import JOINED, OWN, watched_head
from dann_search.search.interrupts import at_once, exit_code_at_failure, handlers_kept
from dann_search.search.ray_private import (
    TIMED_OUT,
    dead_processes,
    end_failed_start,
    without_monitors,
)

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's own snapshots are never read: the study is the record.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    # The fleet looks for nodes that are drained itself; one actor less a run.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}

SIGNAL_S = 2.0
"""How long after the loss of its Ray a process may still hear of a signal that ended both."""

OBJECT_STORE_BYTES = 128 * 2**20
"""Only small messages pass through it: images and checkpoints go over files."""


class _Screen(io.FileIO):
    """The user's terminal, or a log. Output it does not take is dropped: the search continues."""

    def write(self, data: Any) -> int:
        """Write all of the data, or drop it."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


@contextlib.contextmanager
def quiet_output(log: Path) -> Iterator[TextIO]:
    """Send this process's output, native code's too, to ``log``; yield the real stderr.

    Not only the descriptors 1 and 2: a notebook's ``sys.stdout``, say, does not write to them.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(fd) for fd in (1, 2)]
    # A descriptor of its own: Ray's child processes inherit 1 and 2, never the user's terminal.
    os.set_inheritable(saved[0], False)
    os.set_inheritable(saved[1], False)
    screen = io.BufferedWriter(_Screen(os.dup(saved[1]), "w"))
    terminal = io.TextIOWrapper(screen, encoding="utf-8", errors="replace", line_buffering=True)
    streams = sys.stdout, sys.stderr
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # Not opened on the log itself: a logger may keep them for longer than this block.
    # The log's disk may be full: what it does not take is dropped, too.
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.BufferedWriter(_Screen(fd, "w", closefd=False)), line_buffering=True)
        for fd in (1, 2)
    )
    try:
        with before_the_end(partial(_restore, saved, streams)):
            yield terminal
    finally:
        terminal.close()
        _restore(saved, streams)
        for copy in saved:
            os.close(copy)


def _restore(saved: list[int], streams: tuple[TextIO, TextIO]) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the log's disk may be full, which others tell
            stream.flush()
    for fd, copy in zip((1, 2), saved, strict=True):
        os.dup2(copy, fd)
    sys.stdout, sys.stderr = streams


@contextlib.contextmanager
def ray_session(
    cpus: int,
    address: str = "local",
    *,
    tell: Callable[[str], None] = print,
    kept: str = "",
) -> Iterator[None]:
    """Run the block within a Ray cluster: its own, unless the process is in one already.

    Its own cluster has no dashboard. Ray's ports listen on every interface, whatever address a node
    is given. Token authentication, on by default in a local cluster, protects them: nobody without
    the token in this user's home can run anything.

    Args:
        cpus: of its own cluster.
        address: "local", or the address of a cluster to join. The process ends if the head is lost.
        tell: called with a line when the head stops answering for a while.
        kept: what is not lost, shown if the process has to end.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")
    import ray

    if ray.is_initialized():
        yield
        return
    if address == "local":
        close_token_file()
        _start_here(cpus, kept)
        watch: tuple[Any, ...] = OWN, dead_processes
    else:
        do_as_the_cluster_does(address)
        with handlers_kept():
            ray.init(address=address, **QUIET)
        watch = (JOINED,)
    try:
        head = ray.get_runtime_context().gcs_address
        end = partial(_end_without_head, kept)
        with watched_head(head, tell, end, *watch):
            yield
    finally:
        with handlers_kept():
            ray.shutdown()


def _start_here(cpus: int, kept: str = "") -> None:
    """Start Ray on this machine; where that is busy, a raylet may need a second try to come up.

    Raises:
        KeyboardInterrupt: a signal came meanwhile. A start takes longer than service managers wait.
    """
    import ray

    size = {"num_cpus": cpus, "object_store_memory": OBJECT_STORE_BYTES}
    init = partial(ray.init, address="local", include_dashboard=False, **size, **QUIET)
    with handlers_kept(), without_monitors(), at_once(kept):
        for is_last in (False, True):
            try:
                init()
                return
            except BaseException as exc:
                is_slow = TIMED_OUT in str(exc) and not is_last
                if not (is_slow or isinstance(exc, KeyboardInterrupt)):
                    raise
                traceback.print_exc()  # into the log
                end_failed_start(exc)
                ray.shutdown()
                if not is_slow:
                    raise


def _end_without_head(kept: str, what: str) -> None:
    # Where a signal ended Ray's processes, too, the main thread may not have seen its own yet.
    until = time.monotonic() + SIGNAL_S
    while exit_code_at_failure() == 1 and time.monotonic() < until:
        time.sleep(0.05)
    end_now(f"{what}\n{kept}", exit_code_at_failure())
