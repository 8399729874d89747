"""How far the packing of images is: a bar in a terminal, a line now and then elsewhere."""

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
    if plain:
        yield _Lines(console)
        return
    columns = TextColumn("packing images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


class _Lines:
    """A line every ten seconds: short packings, those of most laptops, say nothing."""

    def __init__(self, console: Console):
        self.console = console
        self.next_s = time.monotonic() + EVERY_S
        self.lock = threading.Lock()

    def __call__(self, done: int, of: int) -> None:
        with self.lock:
            if time.monotonic() < self.next_s:
                return
            self.next_s = time.monotonic() + EVERY_S
        self.console.print(f"packed {done:,} of {of:,} images", highlight=False)
