"""End the process at once, from any thread, with its error shown.

Once the head of the cluster is gone, calls of Ray block and then end the process without a word, so
the main thread cannot be asked to return.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

_before: list[Callable[[], object]] = []
_say: list[Callable[[str], object]] = [lambda message: print(f"error: {message}", file=sys.stderr)]


@contextmanager
def before_the_end(undo: Callable[[], object]) -> Iterator[None]:
    """Call ``undo`` first if the process is ended within this block; the latest comes first."""
    _before.append(undo)
    try:
        yield
    finally:
        _before.remove(undo)


@contextmanager
def said_by(say: Callable[[str], object]) -> Iterator[None]:
    """Show the error by ``say`` if the process is ended within this block."""
    _say.append(say)
    try:
        yield
    finally:
        _say.pop()


def end_now(message: str, code: int = 1) -> NoReturn:
    """Show an error and end the process with an exit code; do not wait for other threads."""
    try:
        for undo in reversed(_before):
            undo()
        _say[-1](message)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
