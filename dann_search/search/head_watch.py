"""Sees that the cluster's head is gone: Ray ends the driver a minute later, without a word."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 5.0
TELL_S = 15.0
END_S = 45.0
"""Ray ends a process that did not reach the head for 60 seconds."""


@contextmanager
def watched_head(
    address: str,
    tell: Callable[[str], None],
    end: Callable[[str], object],
    *,
    look_s: float = LOOK_S,
    tell_s: float = TELL_S,
    end_s: float = END_S,
) -> Iterator[None]:
    """Look after the head while the block runs, and once more as it ends.

    Often some call fails before the silence is long enough, and without a head Ray's shutdown is
    the end of the process, too.

    Args:
        address: host:port at which the head's control service listens.
        tell: told when it does not answer, and when it does again.
        end: told, in a thread of its own, that it was silent for ``end_s`` seconds; or, as the
            block ends, that it does not answer.
        look_s: seconds between two looks.
        tell_s: of silence until it is told.
        end_s: of silence until the end.
    """
    done = threading.Event()

    def watch() -> None:
        heard, told = time.monotonic(), False
        while not done.wait(look_s):
            if _answers(address, look_s):
                if told:
                    tell(f"the head of the cluster, {address}, answers again")
                heard, told = time.monotonic(), False
                continue
            silent = time.monotonic() - heard
            if silent >= end_s:
                end(f"the head of the cluster, {address}, has not answered for {silent:.0f} s")
                return
            if silent >= tell_s and not told:
                told = True
                tell(f"the head of the cluster, {address}, does not answer")

    thread = threading.Thread(target=watch, daemon=True, name="head-watch")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if not any(_answers(address, look_s) for _ in range(2)):
            end(f"the head of the cluster, {address}, does not answer")


def _answers(address: str, timeout_s: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
    except OSError:
        return False
    return True
