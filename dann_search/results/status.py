"""What is running, what is done, what is best so far: from storage alone."""

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from dann_search.driver_lock import driver_is_alive
from dann_search.layout import ExperimentFolder
from dann_search.results.leaderboard import finished
from dann_search.results.reader import TrialRow, experiment_at, experiment_names, read_trials


@dataclass(frozen=True)
class ExperimentStatus:
    """One experiment as it stands."""

    name: str
    place: str
    searching: bool
    completed: int
    pruned: int
    failed: int
    unfinished: int
    best: TrialRow | None

    @property
    def state(self) -> str:
        """One word for people."""
        if self.searching:
            return "searching"
        return "interrupted" if self.unfinished else "done"

    def to_json(self) -> dict[str, Any]:
        """As ``status --json`` prints it."""
        best = self.best
        return {
            "experiment": self.place,
            "name": self.name,
            "searching": self.searching,
            "completed": self.completed,
            "pruned": self.pruned,
            "failed": self.failed,
            "running": self.unfinished,
            "best": best
            and {"trial": best.number, "f1_macro_val": best.f1_macro_val, "config": best.config},
        }


def status(folder: ExperimentFolder) -> ExperimentStatus:
    """Read one experiment."""
    rows = read_trials(folder)
    states = [row.state for row in rows if row.confirms is None]
    best = finished(rows)
    return ExperimentStatus(
        name=folder.root.name,
        place=str(folder),
        searching=driver_is_alive(folder),
        completed=states.count("completed"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        unfinished=states.count("running"),
        best=best[0] if best else None,
    )


def all_experiments(storage: str) -> list[ExperimentStatus]:
    """Every experiment under a storage folder or URL, by name."""
    names = experiment_names(storage)
    return [status(experiment_at(f"{storage.rstrip('/')}/{name}")) for name in names]


def render(states: list[ExperimentStatus]) -> Table:
    """The table people read."""
    table = Table(box=None, pad_edge=False)
    for name in ("experiment", "state", "completed", "stopped early", "failed", "unfinished"):
        table.add_column(name, justify="left" if name in ("experiment", "state") else "right")
    table.add_column("best F1 val", justify="right")
    table.add_column("trial", justify="right")
    for one in states:
        best = one.best
        score = f"{best.f1_macro_val:.3f}" if best and best.f1_macro_val is not None else ""
        counts = (one.completed, one.pruned, one.failed, one.unfinished)
        trial = str(best.number) if best else ""
        table.add_row(one.name, one.state, *map(str, counts), score, trial)
    return table
