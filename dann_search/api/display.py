"""How a search from Python shows its progress: plain lines; in a notebook, a table in place."""

import builtins
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from dann_search.config.trial import TrialConfig
from dann_search.results.lines import (
    LinesView,
    SearchView,
    headline,
    label,
    same_in_all,
    shown_trials,
    time_left,
)
from dann_search.results.reader import SearchState
from dann_search.results.remaining import Pace
from dann_search.results.rows import rows_of
from dann_search.results.status import Snapshot, snapshot_of
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_names import own
from dann_search.tracking.observer import Observer
from dann_search.tracking.packing import CountLines

if TYPE_CHECKING:
    from dann_search.study.study import StudyRecord  # imports optuna

EVERY_S = 0.5
"""Seconds between two snapshots of a running search, at least."""
WIDTH = 100
"""Columns of the table in a notebook, which wraps longer lines."""
IDLE_SHARE = 4
"""Summarizing thousands of trials takes time: rest this many times as long."""


class Display:
    """Shows the progress of ``launch`` and ``resume``; subclasses show it otherwise.

    Args:
        plain: print lines in a notebook, too, instead of a table.
    """

    def __init__(self, plain: bool = False) -> None:
        self.plain = plain
        # A notebook shows what goes through its own sys.stdout, not through a file descriptor.
        self.notebook = sys.stdout if _in_notebook() else None

    def packing(self) -> AbstractContextManager[Callable[[int, int], None]]:
        """Return a function to call with ``(images done, images)`` while packing.

        It is called with zeros when the images are about to be read, and their number is not known.
        """
        file = self.notebook or sys.stderr
        tell = partial(print, file=file, flush=True)
        packed = CountLines(tell, "packed", "packing")

        def progress(done: int, of: int) -> None:
            if of:
                packed(done, of)
            else:
                tell("reading images")

        return nullcontext(progress)

    def stage(self, doing: str) -> AbstractContextManager[Any]:
        """Say what is done while the block lasts, before the search begins."""
        print(doing, file=self.notebook or sys.stderr, flush=True)
        return nullcontext()

    def searching(self, terminal: TextIO, header: str) -> SearchView:
        """Print what goes into the search and return the view of it.

        Args:
            terminal: the real standard error: that of the process goes into a log meanwhile.
            header: what goes into the search.
        """
        file = self.notebook or terminal
        print(header, file=file, flush=True)
        return NotebookView() if self.notebook and not self.plain else LinesView(file)


class NotebookView(SearchView):
    """A table in a notebook's output, replaced as trials progress; its last state stays."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.handle: Any = None

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Replace the table."""
        from IPython.display import display

        left = time_left(self.pace, snapshots[0])
        shown = {"text/plain": _as_text(snapshots[0], left)}
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)


def _as_text(snapshot: Snapshot, left: str) -> str:
    """Return the trials in columns, below them the headline."""
    head = ("trial", "state", "epoch", f"best {label(snapshot.status)}", "recipe")
    rows = [head, *shown_trials(snapshot)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
    lines = []
    for *cells, recipe in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        aligned[1] = cells[1].ljust(widths[1])
        line = "  ".join([*aligned, recipe])
        lines.append(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…")
    above = textwrap.wrap(same_in_all(snapshot), WIDTH)
    return "\n".join([*above, *lines, headline(snapshot, left)])


def _in_notebook() -> bool:
    shell = getattr(builtins, "get_ipython", None)  # IPython's own, also in Colab
    return shell is not None and hasattr(shell(), "kernel")


class Following(Observer):
    """Shows a search of this process as ``status --watch`` shows those of others.

    The study has stored an event before its observers are told, so each snapshot is of the study.
    """

    def __init__(self, record: "StudyRecord", folder: ExperimentFolder, view: SearchView):
        self.record, self.folder, self.view = record, folder, view
        self.begun, self.due = time.time(), 0.0
        self.reported: float | None = None
        self.doing = "starting Ray"
        """Until the first epoch is reported."""
        self.shown: Snapshot | None = None
        self.lock = threading.Lock()
        """The fleet tells what it does from a thread of its own."""
        self._show()

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Show it soon."""
        self._show_if_due()

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Show them soon."""
        self.reported = time.time()
        self._show_if_due()

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Show it now: it may be the last event."""
        self.reported = time.time()
        self._show()

    def stage(self, doing: str) -> None:
        """Show it at once."""
        with self.lock:
            self.doing = doing
            if self.shown and self.reported is None:
                self.shown = replace(self.shown, stage=doing)
                self.view.show([self.shown])

    def notice(self, line: str) -> None:
        """Pass it on."""
        self.view.notice(line)

    def close(self) -> None:
        """End the view without reading: the study may be what failed."""
        self.view.close()

    def _show_if_due(self) -> None:
        if time.monotonic() >= self.due:
            self._show()

    def _show(self) -> None:
        start, record = time.monotonic(), self.record
        trials = own(record.study.get_trials(deepcopy=False))
        search = SearchState(
            experiment=record.experiment,
            rows=rows_of(record.experiment, trials),
            total=record.proposals.total,
            stopped_by=None,
            searching=True,
            reported=self.reported,
        )
        with self.lock:
            doing = self.doing if self.reported is None else ""
            self.shown = snapshot_of(self.folder, search, self.begun, doing)
            self.view.show([self.shown])
        now = time.monotonic()
        self.due = now + max(EVERY_S, IDLE_SHARE * (now - start))


class BaselineLines(Observer):
    """Says in a line how each trial of a baseline's search ended."""

    def __init__(self, method: str, record: "StudyRecord", tell: Callable[[str], None]):
        self.method, self.record, self.tell = method, record, tell

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Say so, with the best score until now."""
        tally, total = self.record.tally, self.record.proposals.total
        best = tally.best() if tally.counts().completed else None
        so_far = f", best {self.record.experiment.search.objective} {best[1]:.3f}" if best else ""
        why = f": {error}" if error else ""
        done = tally.counts().finished
        self.tell(f"tuning {self.method}: trial {number} {state}{why} ({done} of {total}{so_far})")

    def notice(self, line: str) -> None:
        """Pass it on."""
        self.tell(line)
