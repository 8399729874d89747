"""How far a pass over images is, in a line now and then."""

import threading
import time
from typing import TextIO

EVERY_S = 10.0
"""Seconds between two lines: passes that are shorter, as on most laptops, print nothing."""


class ImageLines:
    """Prints how many images of how many are done; called from any thread.

    Args:
        file: where lines are written.
        done: what was done to the images, such as ``packed``.
        doing: the same before the first is done, such as ``packing``; if given, a line says so.
    """

    def __init__(self, file: TextIO, done: str, doing: str = ""):
        self.file, self.word, self.doing = file, done, doing
        self.next_s = time.monotonic() + EVERY_S
        self.lock = threading.Lock()

    def __call__(self, done: int, of: int) -> None:
        """Print a line if the last one is ten seconds old."""
        with self.lock:
            if self.doing:
                print(f"{self.doing} {of:,} images", file=self.file, flush=True)
                self.doing = ""
            if time.monotonic() < self.next_s:
                return
            self.next_s = time.monotonic() + EVERY_S
        print(f"{self.word} {done:,} of {of:,} images", file=self.file, flush=True)
