"""What is running, what is done, what is best so far: from storage alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dann_search.driver_lock import driver_is_alive
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.results.leaderboard import finished
from dann_search.results.reader import TrialRow, experiment_names, read_trials


@dataclass(frozen=True)
class ExperimentStatus:
    """One experiment as it stands."""

    name: str
    path: Path
    searching: bool
    completed: int
    pruned: int
    failed: int
    unfinished: int
    best: TrialRow | None
    error: str | None = None
    """Why it cannot be read; then all counts are 0."""

    @property
    def state(self) -> str:
        """One word for people."""
        if self.error:
            return "unreadable"
        if self.searching:
            return "searching"
        return "interrupted" if self.unfinished else "done"

    def to_json(self) -> dict[str, Any]:
        """As ``status --json`` prints it."""
        best = self.best
        return {
            "experiment": str(self.path),
            "name": self.name,
            "searching": self.searching,
            "completed": self.completed,
            "pruned": self.pruned,
            "failed": self.failed,
            "running": self.unfinished,
            "best": best
            and {"trial": best.number, "f1_macro_val": best.f1_macro_val, "config": best.config},
            "error": self.error,
        }


def status(folder: ExperimentFolder) -> ExperimentStatus:
    """Read one experiment."""
    rows = read_trials(folder)
    states = [row.state for row in rows if row.confirms is None]
    best = finished(rows)
    return ExperimentStatus(
        name=folder.root.name,
        path=folder.root,
        searching=driver_is_alive(folder.root),
        completed=states.count("completed"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        unfinished=states.count("running"),
        best=best[0] if best else None,
    )


def all_experiments(storage: Path) -> list[ExperimentStatus]:
    """Every experiment under a storage folder, by name; one that cannot be read says why."""
    return [_status(ExperimentFolder(storage.resolve() / n)) for n in experiment_names(storage)]


def _status(folder: ExperimentFolder) -> ExperimentStatus:
    try:
        return status(folder)
    except InputError as exc:
        searching = driver_is_alive(folder.root)
        return ExperimentStatus(
            folder.root.name, folder.root, searching, 0, 0, 0, 0, None, str(exc)
        )


def render(states: list[ExperimentStatus]) -> Group:
    """The table people read, and below it what is wrong with those that cannot be read."""
    table = Table(box=None, pad_edge=False)
    for name in ("experiment", "state", "completed", "stopped early", "failed", "unfinished"):
        words = name in ("experiment", "state")
        table.add_column(name, justify="left" if words else "right", no_wrap=name == "state")
    table.add_column("best F1 val", justify="right")
    table.add_column("trial", justify="right")
    for one in states:
        if one.error:
            table.add_row(one.name, one.state)
            continue
        best = one.best
        score = f"{best.f1_macro_val:.3f}" if best and best.f1_macro_val is not None else ""
        counts = (one.completed, one.pruned, one.failed, one.unfinished)
        trial = str(best.number) if best else ""
        table.add_row(one.name, one.state, *map(str, counts), score, trial)
    problems = [Text(f"{one.name}: {one.error}", overflow="fold") for one in states if one.error]
    return Group(table, *problems)
