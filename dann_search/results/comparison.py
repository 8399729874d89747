"""What ``compare`` found: every method's scores, what they say, how people and programs read it."""

import statistics
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table

SUPERVISED = "target_supervised"
"""The upper bound: the winner's recipe on the target's own training images with their labels."""


@dataclass(frozen=True)
class Scores:
    """One method's scores on the target's test split, one a seed."""

    f1_macro: list[float]
    accuracy: list[float]
    same_as: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        content: dict[str, Any] = {
            "f1_macro_test": _summary(self.f1_macro),
            "accuracy_test": _summary(self.accuracy),
        }
        return content if self.same_as is None else {**content, "same_as": self.same_as}


def _summary(values: list[float]) -> dict[str, Any]:
    return {"mean": statistics.mean(values), "sd": statistics.stdev(values), "values": values}


@dataclass(frozen=True)
class Comparison:
    """Every method's scores, the winner's first."""

    winner: str
    trial: int
    seeds: list[int]
    methods: dict[str, Scores]

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        return {
            "methods": {name: scores.to_json() for name, scores in self.methods.items()},
            "trial": self.trial,
            "seeds": self.seeds,
            "verdict": self.verdict(),
        }

    def verdict(self) -> str:
        """Whether the winner is above source-only by more than seeds differ, in one line."""
        if self.winner == "source_only" or not {self.winner, "source_only"} <= self.methods.keys():
            return f"whether {self.winner} helps shows beside source_only: name both methods"
        mine, base = self.methods[self.winner].f1_macro, self.methods["source_only"].f1_macro
        gap = statistics.mean(mine) - statistics.mean(base)
        noise = max(statistics.stdev(mine), statistics.stdev(base))
        numbers = f"macro-F1 {gap:+.3f}, standard deviation over seeds {noise:.3f}"
        if gap > noise:
            return f"{self.winner} is above source_only: {numbers}"
        if gap > 0:
            return f"{self.winner} is above source_only by no more than seeds differ: {numbers}"
        return f"adaptation does not help here: {self.winner} against source_only {numbers}"

    def render(self) -> Group:
        """The table people read."""
        table = Table(box=None, pad_edge=False)
        table.add_column(f"target test, {len(self.seeds)} seeds")
        for name in ("macro-F1", "accuracy"):
            table.add_column(name, justify="right")
        for name, scores in self.methods.items():
            if scores.same_as:
                note = f"same as {scores.same_as}: no pre-trained weights"
                table.add_row(name, note, "")
                continue
            cells = (
                f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
                for values in (scores.f1_macro, scores.accuracy)
            )
            table.add_row(name, *cells)
        notes = [self.verdict()]
        if SUPERVISED in self.methods:
            notes.append(
                f"{SUPERVISED} is an upper bound: it was trained on the target's own labels"
            )
        return Group(table, "", *notes)
