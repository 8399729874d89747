"""Advisory locks on files: the system frees one when the process that holds it ends."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

WAIT_S = 0.2


@contextmanager
def locked(path: Path, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock on ``path``, a file that is made for it, for a block.

    ``wait`` is called every 0.2 s while another process holds it.
    """
    with open(path, "a") as file:
        while not try_lock(file):
            wait()
            time.sleep(WAIT_S)
        yield


def try_lock(file: IO[Any], kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock on an open file if it is free; return whether it is taken.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
