"""Notice that the cluster's head is gone: Ray ends the driver a while later, without a word."""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long a head may be silent.

    Attributes:
        name: what messages call the head; ``{}`` stands for its address.
        look_s: seconds between two looks.
        tell_s: seconds of silence until the user is told.
        end_s: seconds of silence until the process ends.
        gone_s: the same where connections are refused, since nothing listens any more.
    """

    name: str
    look_s: float
    tell_s: float
    end_s: float
    gone_s: float = math.inf


JOINED = Patience("the head of the cluster, {},", look_s=5.0, tell_s=15.0, end_s=45.0)
"""A head elsewhere may come back; Ray ends a process that did not reach it for 60 seconds."""
OWN = Patience("Ray on this machine", look_s=1.0, tell_s=15.0, end_s=45.0, gone_s=3.0)
"""A head that this process started does not come back: it was killed, for instance by a signal to
all processes of a service, as systemd and Slurm send it. It only falls silent where the machine's
address goes for a while, as with the Wi-Fi of a laptop that wakes up."""


@contextmanager
def watched_head(
    address: str,
    tell: Callable[[str], None],
    end: Callable[[str], object],
    patience: Patience = JOINED,
    dead: Callable[[], Sequence[str]] = lambda: (),
) -> Iterator[None]:
    """Check the head while the block runs, and once more as it ends.

    Some call may fail sooner, and without a head Ray's own shutdown ends the process, too.

    A head counts as lost after two looks: a signal that a service manager sent to all processes may
    be on its way to this one, which then ends for that reason.

    Args:
        address: host:port at which the head's control service listens.
        tell: called with a line when the head does not answer, and when it does again.
        end: called, from another thread, when it was silent for too long; or, as the block ends,
            when it does not answer.
        patience: how long it may be silent.
        dead: which processes of it are known to have ended: then there is nothing to wait for.
    """
    done, name, look_s = threading.Event(), patience.name.format(address), patience.look_s

    def watch() -> None:
        silent_since, told, died = None, False, False
        while not done.wait(look_s):
            if ended := dead():
                if died:
                    end(_lost(name, ended))
                    return
                died = True
                continue
            trouble = _trouble(address, look_s)
            if trouble is None:
                if told:
                    tell(f"{name} answers again")
                silent_since, told = None, False
                continue
            silent_since = silent_since or time.monotonic()
            silent = time.monotonic() - silent_since
            is_refused = isinstance(trouble, ConnectionRefusedError)
            if silent >= (min(patience.gone_s, patience.end_s) if is_refused else patience.end_s):
                end(f"{name} has not answered for {silent:.0f} s")
                return
            if silent >= patience.tell_s and not told:
                told = True
                tell(f"{name} does not answer")

    thread = threading.Thread(target=watch, daemon=True, name="head-watch")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if ended := dead():
            end(_lost(name, ended))
        elif all(_trouble(address, look_s) for _ in range(2)):
            end(f"{name} does not answer")


def _lost(name: str, ended: Sequence[str]) -> str:
    return f"{name} has ended: its {' and '.join(ended)} died"


def _trouble(address: str, timeout_s: float) -> OSError | None:
    """Return why the head does not answer; None if it does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
    except OSError as exc:
        return exc
    return None
