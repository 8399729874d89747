"""How far a pass over many things is, in a line now and then."""

import threading
import time
from collections.abc import Callable

EVERY_S = 10.0
"""Seconds between two lines: passes that are shorter, as on most laptops, print nothing."""


class CountLines:
    """Says how many things of how many are done; called from any thread.

    Args:
        tell: called with each line.
        done: what was done to the things, such as ``packed``.
        doing: the same before the first is done, such as ``packing``; if given, a line says so.
        things: what they are.
    """

    def __init__(
        self, tell: Callable[[str], None], done: str, doing: str = "", things: str = "images"
    ):
        self.tell, self.word, self.doing, self.things = tell, done, doing, things
        self.next_s: float | None = None
        self.lock = threading.Lock()

    def __call__(self, done: int, of: int) -> None:
        """Say it if the last line, or else the first call, is ten seconds old."""
        with self.lock:
            now = time.monotonic()
            self.next_s = self.next_s or now + EVERY_S
            if self.doing:
                self.tell(f"{self.doing} {of:,} {self.things}")
                self.doing = ""
            if now < self.next_s:
                return
            self.next_s = now + EVERY_S
        self.tell(f"{self.word} {done:,} of {of:,} {self.things}")
