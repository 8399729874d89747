"""What a running search shows: a live table in a terminal or a notebook, plain lines elsewhere."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.tracking.board import (
    SHOWN_ENDED,
    Board,
    TrialLine,
    describe,
    duration,
    left_in_words,
    remaining_s,
)
from dann_search.tracking.observer import Observer
from dann_search.training.result import F1_MACRO, score_of

__all__ = ["LiveTable", "NotebookTable", "PlainLines", "SearchProgress", "describe", "duration"]

NOTEBOOK_EVERY_S = 0.5
"""A notebook's output is replaced at most so often."""


class TrialState:
    """One trial as the console knows it; its scores are values of the objective."""

    def __init__(
        self, number: int, recipe: dict[str, Any], known: Sequence[float], confirms: bool = False
    ):
        self.number, self.recipe, self.state = number, recipe, "running"
        self.error: str | None = None
        self.confirms = confirms
        self.scores = list(known)

    @property
    def best(self) -> float | None:
        """Score of its best epoch so far."""
        return max(self.scores, default=None)

    def line(self) -> TrialLine:
        """As the board shows it."""
        return TrialLine(
            number=self.number,
            state=self.state,
            epochs=len(self.scores),
            best=self.best,
            recipe=self.recipe,
            error=self.error,
            confirms=self.confirms,
        )


class SearchProgress(Observer):
    """Counts trials and epochs, keeps the best, estimates what remains."""

    def __init__(
        self,
        space: Space,
        total: int,
        finished: int,
        best: tuple[int, float] | None,
        objective: str = F1_MACRO,
    ):
        self.objective = objective
        self.label = "F1" if objective == F1_MACRO else objective
        self.space, self.total, self.finished_before = space, total, finished
        self.epochs = space.fixed.epochs
        self.trials: dict[int, TrialState] = {}
        self.ended: list[TrialState] = []
        self.best_before = best
        self.begun = time.monotonic()
        self.epochs_seen = 0
        self.first_epoch: float | None = None

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """A trial begins or goes on."""
        recipe = self.space.active(config.model_dump())
        # A finalist is confirmed with a seed that is not the search's.
        confirms = config.seed != self.space.fixed.seed
        self.trials[number] = TrialState(number, recipe, known, confirms)

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Its scores grow."""
        trial = self.trials[number]
        self.first_epoch = self.first_epoch or time.monotonic()
        self.epochs_seen += len(history) - known
        trial.scores = [score_of(result, self.objective) for result in history]

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """It leaves the running ones."""
        trial = self.trials.pop(number)
        trial.state, trial.error = state, error
        if state != "interrupted":
            self.ended.append(trial)

    @property
    def finished(self) -> int:
        """Trials over, in this run and before."""
        return self.finished_before + sum(not trial.confirms for trial in self.ended)

    @property
    def best(self) -> tuple[int, float, dict[str, Any]] | None:
        """Number, score and recipe of the best trial; of completed ones, where there are any.

        The recipe of one of an earlier run is not repeated.
        """
        ended = [t for t in self.ended if not t.confirms]
        mine = [t for t in ended if t.state == "completed"] or [*ended, *self.trials.values()]
        found = [(t.best, -t.number, t.recipe) for t in mine if t.best is not None]
        if self.best_before:
            number, score = self.best_before
            found.append((score, -number, {}))
        if not found:
            return None
        score, number, recipe = max(found, key=lambda item: item[:2])
        return -number, score, recipe

    @property
    def remaining_s(self) -> float | None:
        """Estimate from epochs a second and epochs a trial so far; None while too early."""
        if self.first_epoch is None or len(self.ended) < 2:
            return None
        return remaining_s(
            self.epochs_seen / max(time.monotonic() - self.begun, 1e-9),
            [len(trial.scores) for trial in self.ended],
            [len(trial.scores) for trial in list(self.trials.values())],
            max(0, self.total - self.finished - len(self.trials)),
        )

    def board(self) -> Board:
        """The search as of now."""
        remarks = [f"elapsed {duration(time.monotonic() - self.begun)}"]
        if self.first_epoch is None:
            remarks.insert(0, "starting Ray")
        if left := left_in_words(self.remaining_s):
            remarks.append(left)
        return Board(
            label=self.label,
            epochs=self.epochs,
            total=self.total,
            finished=self.finished,
            # Copied: a terminal's table is drawn by a thread of its own.
            running=[trial.line() for trial in list(self.trials.values())],
            ended=[trial.line() for trial in self.ended[-SHOWN_ENDED:]],
            best=self.best[:2] if self.best else None,
            remarks=remarks,
        )

    def render(self) -> Table:
        """The table as of now."""
        return self.board().render()


class LiveTable(SearchProgress):
    """The table that refreshes in place."""

    def __init__(self, console: Console, *arguments: Any):
        super().__init__(*arguments)
        # Live would show whatever is printed meanwhile, such as Ray's banners, above the table.
        self.live = Live(
            get_renderable=self.render,
            console=console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.live.start()

    def notice(self, line: str) -> None:
        """Above the table."""
        self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the table away; the summary follows."""
        self.live.stop()


class NotebookTable(SearchProgress):
    """The table in a notebook's output, replaced as trials go on; its last state stays.

    Through IPython's display, which needs no widgets: rich's own live display in a notebook does.
    """

    def __init__(self, console: Console, *arguments: Any):
        super().__init__(*arguments)
        from IPython.display import display

        self.shown = time.monotonic()
        self.handle = display(self.render(), display_id=True)

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Show it."""
        super().trial_started(number, config, known)
        self._show()

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Show them."""
        super().epochs_done(number, history, known)
        self._show()

    def close(self) -> None:
        """Leave the table as it is at the end."""
        self.handle.update(self.render())

    def _show(self) -> None:
        if time.monotonic() - self.shown >= NOTEBOOK_EVERY_S:
            self.shown = time.monotonic()
            self.handle.update(self.render())


class PlainLines(SearchProgress):
    """A line for each trial that ends: for logs and pipes."""

    def __init__(self, console: Console, *arguments: Any):
        super().__init__(*arguments)
        self.console = console

    def notice(self, line: str) -> None:
        """A line of its own."""
        since = duration(time.monotonic() - self.begun)
        self.console.print(f"[{since}] {line}", markup=False, highlight=False, soft_wrap=True)

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Print it."""
        trial = self.trials[number]
        super().trial_ended(number, state, error)
        stamp = duration(time.monotonic() - self.begun)
        for line in self.board().lines(trial.line(), stamp, left_in_words(self.remaining_s)):
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
