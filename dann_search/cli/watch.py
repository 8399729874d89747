"""Watching experiments from storage, while other processes, maybe elsewhere, search them."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live

from dann_search.results.status import ExperimentStatus, render
from dann_search.tracking.board import left_in_words, remaining_s

INTERVAL_S = 2.0
IDLE_SHARE = 4
"""Reading a study of thousands of trials takes seconds: what it takes is rested as many times."""
HEADLINE_EVERY_S = 60.0
"""Lines tell of epochs, besides trials that end, at most so often."""

Read = Callable[[], Sequence[ExperimentStatus]]


class View(Protocol):
    """What shows the experiments each time they have been read."""

    def show(self, states: Sequence[ExperimentStatus]) -> None:
        """Show them as they now stand."""

    def close(self) -> None:
        """No more will come."""


def watch(read: Read, view: View, interval: float = INTERVAL_S) -> Sequence[ExperimentStatus]:
    """Show experiments until none is searched any more, or until Ctrl-C.

    Args:
        read: reads them from storage.
        view: shows them.
        interval: seconds from one look to the next, at least.

    Returns:
        The experiments as they stood last.
    """
    quiet = 0
    try:
        # A launch holds its lock a moment after its record is there: one look may come between.
        while True:
            begun = time.monotonic()
            states = read()
            view.show(states)
            quiet = 0 if any(one.searching for one in states) else quiet + 1
            if quiet == 2 or all(one.state == "done" for one in states):
                return states
            time.sleep(max(interval, IDLE_SHARE * (time.monotonic() - begun)))
    finally:
        view.close()


class Pace:
    """How fast an experiment goes, from its epochs since it was first looked at."""

    def __init__(self) -> None:
        self.first: tuple[float, int] | None = None

    def left(self, state: ExperimentStatus) -> str:
        """How long its search will still take, in words; empty while that is not known."""
        now, epochs = time.monotonic(), sum(row.epochs for row in (*state.running, *state.ended))
        self.first = self.first or (now, epochs)
        if not state.searching or now == self.first[0]:
            return ""
        seconds = remaining_s(
            (epochs - self.first[1]) / (now - self.first[0]),
            [row.epochs for row in state.ended],
            [row.epochs for row in state.running],
            max(0, state.total - state.finished - state.unfinished),
        )
        return left_in_words(seconds)


class LiveView:
    """A table that refreshes in place: a search's own for one experiment, a line each for many."""

    def __init__(self, console: Console, one: bool):
        self.one, self.pace = one, Pace()
        self.left = ""
        self.states: Sequence[ExperimentStatus] = ()
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=4, transient=True
        )
        self.live.start()

    def render(self) -> Group:
        """As of the last look; the times since then go on."""
        if not self.states:
            return Group()
        if self.one:
            return Group(self.states[0].board(self.left).render())
        return Group(render(list(self.states)))

    def show(self, states: Sequence[ExperimentStatus]) -> None:
        """Take what was read."""
        self.left = self.pace.left(states[0]) if self.one else ""
        self.states = states

    def close(self) -> None:
        """Take the table away; the last state follows."""
        self.live.stop()


class LinesView:
    """Lines for logs and pipes: trials that end, and how the search stands when that changes."""

    def __init__(self, console: Console, one: bool):
        self.console, self.one = console, one
        self.paces: dict[str, Pace] = {}
        self.told: dict[str, set[int]] = {}
        self.headlines: dict[str, tuple[float, str, int]] = {}

    def show(self, states: Sequence[ExperimentStatus]) -> None:
        """Print what is new."""
        for state in states:
            self._show(state)

    def _show(self, state: ExperimentStatus) -> None:
        left = self.paces.setdefault(state.name, Pace()).left(state)
        board = state.board(left)
        known = self.told.get(state.name)
        new = [row for row in state.ended if known is not None and row.number not in known]
        self.told[state.name] = {row.number for row in state.ended}
        for row in new:
            stamp = time.strftime("%H:%M:%S", time.localtime(row.ended))
            for line in board.lines(state.line(row), stamp, left):
                self._print(state, line)
        now, epochs = time.monotonic(), sum(row.epochs for row in (*state.running, *state.ended))
        before = self.headlines.get(state.name)
        if before is not None:
            due = now - before[0] >= HEADLINE_EVERY_S and epochs != before[2]
            if state.words() == before[1] and not due:
                return
        self.headlines[state.name] = (now, state.words(), epochs)
        self._print(state, board.headline())

    def _print(self, state: ExperimentStatus, line: str) -> None:
        text = line if self.one else f"{state.name}: {line}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is left open."""
