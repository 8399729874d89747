"""Bars on standard error: how far something is, or for how long it has gone on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from dann_search.cli.app import err

BAR_WIDTH = 24
"""Columns of a bar: what it is of and how far still fit beside it into 80 columns."""


class HowFar(ProgressColumn):
    """Shows ``499/5,043  0:00:07`` with the time that is left; else the time that has passed."""

    def render(self, task: Task) -> Text:
        """Draw it."""
        if not task.total:
            return Text(_clock(task.elapsed), style="progress.elapsed")
        left = _clock(task.time_remaining)
        return Text(f"{task.completed:,.0f}/{task.total:,.0f}  {left}", style="progress.remaining")


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def columns() -> tuple[ProgressColumn, ...]:
    """Return the columns of a bar: what is done, the bar, how far it is."""
    return TextColumn("{task.description}", markup=False), BarColumn(BAR_WIDTH), HowFar()


@contextmanager
def bar(doing: str) -> Iterator[Callable[[str, int, int], None]]:
    """Draw a bar in a terminal while the block lasts, without an end at first.

    Yields a function to call with what is done, how many things are done, and of how many; where
    these are 0, the bar has no end.
    """
    if not err.is_terminal:  # nothing would be drawn but the end of it
        yield lambda doing, done, of: None
        return
    with Progress(*columns(), console=err, transient=True) as shown:
        task = shown.add_task(doing, total=None)

        def show(doing: str, done: int, of: int) -> None:
            shown.tasks[0].total = of or None  # update() takes None for "as before"
            shown.update(task, description=doing, completed=done)

        yield show


@contextmanager
def late_bar(doing: str, after: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar from the first call on of the function that is yielded, with (done, of).

    ``after`` is what is done when all things are.
    """
    with ExitStack() as drawn:
        shown: list[Callable[[str, int, int], None]] = []

        def progress(done: int, of: int) -> None:
            if not shown:
                shown.append(drawn.enter_context(bar(doing)))
            shown[0](*((doing, done, of) if done < of else (after, 0, 0)))

        yield progress
