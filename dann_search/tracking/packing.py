"""How far a pass over images is: a bar in a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_S = 10.0


@contextmanager
def packing_progress(console: Console, *, plain: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function to be told ``(images done, images)``, from any thread."""
    with image_progress(console, "packing images", "packed", plain=plain) as progress:
        yield progress


@contextmanager
def image_progress(
    console: Console, doing: str, done: str, *, plain: bool
) -> Iterator[Callable[[int, int], None]]:
    """``packing_progress`` in the words of another pass over images."""
    if plain:
        yield _Lines(console, done)
        return
    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda count, of: bar.update(task, completed=count, total=of)


class _Lines:
    """A line every ten seconds: short passes, those of most laptops, say nothing."""

    def __init__(self, console: Console, word: str):
        self.console, self.word = console, word
        self.next_s = time.monotonic() + EVERY_S
        self.lock = threading.Lock()

    def __call__(self, done: int, of: int) -> None:
        with self.lock:
            if time.monotonic() < self.next_s:
                return
            self.next_s = time.monotonic() + EVERY_S
        self.console.print(f"{self.word} {done:,} of {of:,} images", highlight=False)
