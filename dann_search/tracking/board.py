"""One look at a search as people read it: its trials and a headline, whoever tells of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

SHOWN_ENDED = 8
"""Ended trials on the board, the newest last."""
STYLES = {"completed": "bold", "running": "cyan", "failed": "red"}


@dataclass(frozen=True)
class TrialLine:
    """One trial.

    Attributes:
        number: its number in the study.
        state: completed, pruned, failed, interrupted or running.
        epochs: done so far.
        best: the objective at its best epoch so far; None before the first.
        recipe: the searched parameters that apply to it.
        error: why it failed.
        confirms: whether it trains a finalist again with another seed.
    """

    number: int
    state: str
    epochs: int
    best: float | None
    recipe: dict[str, Any]
    error: str | None = None
    confirms: bool = False

    @property
    def detail(self) -> str:
        """Its error, or its recipe."""
        return self.error or ("new seed: " if self.confirms else "") + describe(self.recipe)


@dataclass(frozen=True)
class Board:
    """A search as of now.

    Attributes:
        label: what scores are of.
        epochs: of a whole trial.
        total: trials the search is to have.
        finished: trials of it that are over.
        running: trials at work.
        ended: trials that are over, in the order of their end.
        best: number and score of the best trial.
        remarks: what else the headline says: how long it took, how long it will.
    """

    label: str
    epochs: int
    total: int
    finished: int
    running: Sequence[TrialLine]
    ended: Sequence[TrialLine]
    best: tuple[int, float] | None
    remarks: Sequence[str] = ()

    def render(self) -> Table:
        """The newest trials above the headline."""
        # The recipe alone gives way where the console is narrow.
        table = Table(box=None, pad_edge=False, expand=True)
        table.add_column("trial", justify="right")
        table.add_column("state")
        table.add_column("epoch", justify="right")
        table.add_column(f"best {self.label}", justify="right")
        table.add_column("recipe", overflow="ellipsis", no_wrap=True, ratio=1)
        for trial in [*self.ended[-SHOWN_ENDED:], *self.running]:
            cells = (str(trial.number), trial.state, f"{trial.epochs}/{self.epochs}")
            score = "" if trial.best is None else f"{trial.best:.3f}"
            style = STYLES.get(trial.state, "dim")
            table.add_row(*cells, score, Text(describe(trial.recipe)), style=style)
        board = Table.grid(expand=True)
        board.add_row(table)
        board.add_row(Text(self.headline(), style="bold"))
        return board

    def headline(self) -> str:
        """One line: done, best, remarks."""
        parts = [f"{self.finished}/{self.total} trials done, {len(self.running)} running"]
        if self.best:
            parts.append(f"best {self.label} {self.best[1]:.3f} (trial {self.best[0]})")
        return "   ".join([*parts, *self.remarks])

    def lines(self, trial: TrialLine, stamp: str, left: str = "") -> tuple[str, str]:
        """A trial that ended, for logs and pipes."""
        score = "" if trial.best is None else f", best {self.label} {trial.best:.3f}"
        return (
            f"[{stamp}] trial {trial.number} {trial.state} after "
            f"{trial.epochs} of {self.epochs} epochs{score} ({self.finished}/{self.total} done"
            f"{left and ', '}{left})",
            f"    {trial.detail}",
        )


def remaining_s(
    rate: float, ended: Sequence[int], running: Sequence[int], waiting: int
) -> float | None:
    """Estimate of the seconds left, from the epochs of trials; None while too few have ended.

    Args:
        rate: epochs a second so far.
        ended: epochs that each trial had that is over.
        running: epochs that each running trial has had.
        waiting: trials that have not begun.
    """
    if len(ended) < 2 or rate <= 0:
        return None
    mean = sum(ended) / len(ended)
    return (sum(max(0.0, mean - epochs) for epochs in running) + waiting * mean) / rate


def left_in_words(seconds: float | None) -> str:
    """``about 3m05s left``; empty where it is not known or nothing is left."""
    return f"about {duration(seconds)} left" if seconds else ""


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
