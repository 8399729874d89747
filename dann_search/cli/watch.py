"""The live table: of a search that this process runs, or that others run and storage shows."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress

from dann_search.api.display import Display
from dann_search.cli import tables
from dann_search.cli.app import err
from dann_search.cli.bars import bar, columns
from dann_search.results.lines import SearchView, time_left
from dann_search.results.remaining import Pace
from dann_search.results.status import Snapshot

IDLE_SHARE = 4
"""Reading a study of thousands of trials takes seconds: rest this many times as long."""

Read = Callable[[], Sequence[Snapshot]]


def watch(read: Read, view: SearchView, interval: float) -> None:
    """Show experiments until no search runs any more, or until Ctrl-C.

    Args:
        read: reads them from storage.
        view: shows them.
        interval: seconds between two reads, at least.
    """
    quiet = 0
    try:
        # A launch takes its lock a moment after it wrote its record: one read may come between.
        while True:
            begun = time.monotonic()
            snapshots = read()
            view.show(snapshots)
            searching = any(one.status.searching for one in snapshots)
            quiet = 0 if searching else quiet + 1
            if quiet == 2 or all(one.status.state == "done" for one in snapshots):
                return
            time.sleep(max(interval, IDLE_SHARE * (time.monotonic() - begun)))
    finally:
        view.close()


class LiveView(SearchView):
    """A table that refreshes in place: the live table of one search, or a line for each of many."""

    def __init__(self, console: Console, one: bool = True):
        self.one, self.pace = one, Pace()
        self.left = ""
        self.snapshots: Sequence[Snapshot] = ()
        self.stage = Progress(*columns(), console=console)
        """What is done before the first epoch is reported."""
        self.stage.add_task("", total=None)
        self.live = Live(
            get_renderable=self.render,
            console=console,
            refresh_per_second=4,
            transient=True,
            # Otherwise it would show whatever is printed meanwhile, such as Ray's banners.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.live.start()

    def render(self) -> Group:
        """Draw the last snapshots; the times since then are current."""
        if not self.snapshots:
            return Group()
        if not self.one:
            return tables.experiments(self.snapshots)
        shown = self.snapshots[0]
        table = tables.Live(replace(shown, stage=""), self.left)
        if not shown.stage:
            return Group(table)
        task = self.stage.tasks[0]
        if task.description != shown.stage:
            self.stage.reset(task.id, description=shown.stage)
        return Group(table, self.stage)

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Draw these from now on."""
        self.left = time_left(self.pace, snapshots[0]) if self.one else ""
        self.snapshots = snapshots

    def notice(self, line: str) -> None:
        """Print the message above the table."""
        self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Erase the table; the result follows."""
        self.live.stop()


class LiveDisplay(Display):
    """Shows the progress of a search in a terminal: a bar while packing, then the live table."""

    @contextmanager
    def packing(self) -> Iterator[Callable[[int, int], None]]:
        """Draw a bar on standard error."""
        with bar("checking the experiment") as show:
            yield lambda done, of: show("packing images" if of else "reading images", done, of)

    def stage(self, doing: str) -> AbstractContextManager[Any]:
        """Draw a bar without an end on standard error."""
        return bar(doing)

    def searching(self, terminal: TextIO, header: str) -> SearchView:
        """Draw the live table below the header."""
        console = Console(file=terminal, force_jupyter=False, markup=False, emoji=False)
        console.print(header, highlight=False, soft_wrap=True)
        return LiveView(console)


def display(as_json: bool) -> Display:
    """Return what shows a search's progress: live in a terminal, else plain lines."""
    return Display() if as_json or not err.is_terminal else LiveDisplay()
