"""What a running search shows: one live table in a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.tracking.observer import Observer
from dann_search.training.result import F1_MACRO, score_of

SHOWN_ENDED = 8
"""Ended trials shown in the live table, the newest last."""


class TrialState:
    """One trial as the console knows it; its scores are values of the objective."""

    def __init__(
        self, number: int, recipe: dict[str, Any], known: Sequence[float], confirms: bool = False
    ):
        self.number, self.recipe, self.state = number, recipe, "running"
        self.confirms = confirms
        self.scores = list(known)

    @property
    def best(self) -> float | None:
        """Score of its best epoch so far."""
        return max(self.scores, default=None)


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
        trial.state = state
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
        rate = self.epochs_seen / max(time.monotonic() - self.begun, 1e-9)
        mean = sum(len(t.scores) for t in self.ended) / len(self.ended)
        running = sum(max(0.0, mean - len(t.scores)) for t in self.trials.values())
        waiting = max(0, self.total - self.finished - len(self.trials))
        return (running + waiting * mean) / rate


class LiveTable(SearchProgress):
    """The table that refreshes in place."""

    def __init__(self, console: Console, *arguments: Any):
        super().__init__(*arguments)
        self.live = Live(
            get_renderable=self.render, console=console, refresh_per_second=4, transient=True
        )
        self.live.start()

    def notice(self, line: str) -> None:
        """Above the table."""
        self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the table away; the summary follows."""
        self.live.stop()

    def render(self) -> Group:
        """The table as of now."""
        table = Table(box=None, pad_edge=False, expand=False)
        for name, justify in (("trial", "right"), ("state", "left"), ("epoch", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column(f"best {self.label}", justify="right")
        table.add_column("recipe", overflow="ellipsis", no_wrap=True)
        for trial in [*self.ended[-SHOWN_ENDED:], *list(self.trials.values())]:
            score = "" if trial.best is None else f"{trial.best:.3f}"
            style = {"completed": "bold", "running": "cyan", "failed": "red"}.get(
                trial.state, "dim"
            )
            epoch = f"{len(trial.scores)}/{self.epochs}"
            table.add_row(
                str(trial.number), trial.state, epoch, score, describe(trial.recipe), style=style
            )
        return Group(table, Text(self.headline(), style="bold"))

    def headline(self) -> str:
        """One line: done, best, time."""
        parts = [f"{self.finished}/{self.total} trials done, {len(self.trials)} running"]
        if self.best:
            parts.append(f"best {self.label} {self.best[1]:.3f} (trial {self.best[0]})")
        else:
            parts.append("starting Ray" if self.first_epoch is None else "")
        parts.append(f"elapsed {duration(time.monotonic() - self.begun)}")
        if (remaining := self.remaining_s) is not None:
            parts.append(f"about {duration(remaining)} left")
        return "   ".join(part for part in parts if part)


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
        score = "" if trial.best is None else f", best {self.label} {trial.best:.3f}"
        left = f", about {duration(self.remaining_s)} left" if self.remaining_s else ""
        line = (
            f"[{duration(time.monotonic() - self.begun)}] trial {number} {state} after "
            f"{len(trial.scores)} of {self.epochs} epochs{score} "
            f"({self.finished}/{self.total} done{left})"
        )
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        detail = error or ("new seed: " if trial.confirms else "") + describe(trial.recipe)
        self.console.print(f"    {detail}", markup=False, highlight=False, soft_wrap=True)


def describe(recipe: dict[str, Any]) -> str:
    """A recipe on one line."""
    return "  ".join(f"{name}={short(value)}" for name, value in recipe.items())


def short(value: Any) -> str:
    """A value with at most three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Seconds as ``45s``, ``3m05s`` or ``2h07m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
