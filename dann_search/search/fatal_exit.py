"""An end at once, from any thread, where the main thread would not return; but with its error said.

Calls of Ray wait, and then end the process in silence, once the head of the cluster is gone.
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
    """What is undone before the last words within this block: the latest first."""
    _before.append(undo)
    try:
        yield
    finally:
        _before.remove(undo)


@contextmanager
def said_by(say: Callable[[str], object]) -> Iterator[None]:
    """How the last words are said within this block."""
    _say.append(say)
    try:
        yield
    finally:
        _say.pop()


def end_now(message: str, code: int = 1) -> NoReturn:
    """End the process with an error and an exit code; no other thread is waited for."""
    try:
        for undo in reversed(_before):
            undo()
        _say[-1](message)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
