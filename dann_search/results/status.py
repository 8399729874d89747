"""What is running, what is done, what is best so far: from storage alone."""

import time
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dann_search.errors import InputError
from dann_search.results.confirmation import Confirmation, confirmation_of
from dann_search.results.leaderboard import best_to_json, finished
from dann_search.results.reader import TrialRow, experiment_at, experiment_names, read_search
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.board import SHOWN_ENDED, Board, TrialLine, duration
from dann_search.training.result import F1_MACRO

BY_ITSELF = {
    "time": "its hours are spent",
    "cpu_hours": "its CPU-hours are spent",
    "gpu_hours": "its GPU-hours are spent",
    "no_improvement": "nothing better was found for long",
    "target": "the target was reached",
}
"""Why a search may end before it has all its trials, and yet be done."""

SHOWN_FAILED = 5
"""Failed trials whose error is shown, the newest last."""


@dataclass(frozen=True)
class ExperimentStatus:
    """One experiment as it stands.

    Attributes:
        name: of its folder.
        path: its folder.
        searching: whether a driver is at work.
        completed, pruned, failed, unfinished: trials of the search by state.
        best: the best trial that is over.
        total: trials the search is to have.
        epochs: of a whole trial.
        objective: what the search maximizes.
        stopped_by: why the search last ended, where it told.
        running: trials that are not over, those that confirm a finalist too.
        ended: trials that are, in the order of their end.
        reported: when a trial last told of an epoch or of its end, in seconds of the epoch.
        confirmation: how far finalists are trained again, where they are to be.
    """

    name: str
    place: str
    searching: bool
    completed: int
    pruned: int
    failed: int
    unfinished: int
    best: TrialRow | None
    total: int
    epochs: int
    objective: str
    stopped_by: str | None
    running: list[TrialRow]
    ended: list[TrialRow]
    reported: float | None
    confirmation: Confirmation | None = None
    error: str | None = None
    """Why it cannot be read; then all counts are 0."""

    @property
    def finished(self) -> int:
        """Trials of the search that are over."""
        return self.completed + self.pruned + self.failed

    @property
    def state(self) -> str:
        """One word for people: searching, interrupted, done or unreadable."""
        if self.error:
            return "unreadable"
        if self.searching:
            return "searching"
        whole = not self.running and self.finished >= self.total and not self.unconfirmed
        return "done" if whole or self.stopped_by in BY_ITSELF else "interrupted"

    @property
    def unconfirmed(self) -> list[str]:
        """What people are told where finalists still lack trainings."""
        one = self.confirmation
        return [str(one)] if one and not one.is_whole else []

    @property
    def last_report_s(self) -> float | None:
        """Seconds since a trial told of anything."""
        return None if self.reported is None else max(0.0, time.time() - self.reported)

    def to_json(self) -> dict[str, Any]:
        """As ``status --json`` prints it."""
        best, since = self.best, self.last_report_s
        return {
            "experiment": self.place,
            "name": self.name,
            "state": self.state,
            "searching": self.searching,
            "stopped_by": self.stopped_by,
            "objective": self.objective,
            "total": self.total,
            "completed": self.completed,
            "pruned": self.pruned,
            "failed": self.failed,
            "running": self.unfinished,
            "epochs": self.epochs,
            "running_trials": [
                {
                    "trial": row.number,
                    "epochs": row.epochs,
                    "f1_macro_val": row.f1_macro_val,
                    "confirms": row.confirms,
                }
                for row in self.running
            ],
            "failures": [
                {"trial": row.number, "error": row.error}
                for row in self.ended
                if row.state == "failed"
            ],
            "last_report_s": None if since is None else round(since, 1),
            "best": best and best_to_json(best),
            "confirmation": self.confirmation and self.confirmation.to_json(),
            "error": self.error,
        }

    def board(self, left: str = "") -> Board:
        """As the live table shows it; ``left`` says how long it will still take."""
        remarks = [self.words()]
        if self.searching and self.last_report_s is not None:
            remarks.append(f"last report {duration(self.last_report_s)} ago")
        so_far = [row for row in self.running if row.score is not None and row.confirms is None]
        best = self.best or max(so_far, key=lambda row: (row.score, -row.number), default=None)
        return Board(
            label="F1" if self.objective == F1_MACRO else self.objective,
            epochs=self.epochs,
            total=self.total,
            finished=self.finished,
            running=[self.line(row) for row in self.running],
            ended=[self.line(row) for row in self.ended[-SHOWN_ENDED:]],
            best=(best.number, best.score) if best and best.score is not None else None,
            remarks=[*remarks, left] if left else remarks,
        )

    def line(self, row: TrialRow) -> TrialLine:
        """One of its trials as the live table shows it."""
        at_rest = row.state == "running" and not self.searching
        return TrialLine(
            number=row.number,
            state="unfinished" if at_rest else row.state,
            epochs=row.epochs,
            best=row.score,
            recipe=row.params,
            error=row.error,
            confirms=row.confirms is not None,
        )

    def details(self) -> list[Any]:
        """What people read below its line of the table: trials at work, and why others failed."""
        shown: list[Any] = [*self.unconfirmed]
        if self.running:
            shown += ["", self.board().render()]
        failed = [row for row in self.ended if row.state == "failed"]
        for row in failed[-SHOWN_FAILED:]:
            shown.append(Text(f"trial {row.number} failed: {row.error}", style="red"))
        return shown

    def words(self) -> str:
        """Its state, and why the search ended if not for want of trials."""
        why = BY_ITSELF.get(self.stopped_by or "") if self.state == "done" else None
        return f"{self.state}: {why}" if why else self.state


def status(folder: ExperimentFolder) -> ExperimentStatus:
    """Read one experiment."""
    search = read_search(folder)
    states = [row.state for row in search.rows if row.confirms is None]
    best = finished(search.rows)
    ended = [row for row in search.rows if row.state != "running"]
    return ExperimentStatus(
        name=folder.root.name,
        place=str(folder),
        searching=search.searching,
        completed=states.count("completed"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        unfinished=states.count("running"),
        best=best[0] if best else None,
        total=search.total,
        epochs=search.experiment.fixed.epochs,
        objective=search.experiment.search.objective,
        stopped_by=search.stopped_by,
        running=[row for row in search.rows if row.state == "running"],
        ended=sorted(ended, key=lambda row: (row.ended or 0.0, row.number)),
        reported=search.reported,
        confirmation=confirmation_of(search.experiment, search.rows),
    )


def all_experiments(storage: str) -> list[ExperimentStatus]:
    """Every experiment under a storage folder or URL, by name; one that cannot be read says why."""
    names = experiment_names(storage)
    return [_status(experiment_at(f"{storage.rstrip('/')}/{name}")) for name in names]


def _status(folder: ExperimentFolder) -> ExperimentStatus:
    try:
        return status(folder)
    except InputError as exc:
        return ExperimentStatus(
            name=folder.root.name,
            place=str(folder),
            searching=driver_is_alive(folder),
            completed=0,
            pruned=0,
            failed=0,
            unfinished=0,
            best=None,
            total=0,
            epochs=0,
            objective=F1_MACRO,
            stopped_by=None,
            running=[],
            ended=[],
            reported=None,
            error=str(exc),
        )


def render(states: list[ExperimentStatus]) -> Group:
    """The table people read, and below it what is wrong with those that cannot be read."""
    table = Table(box=None, pad_edge=False)
    for name in ("experiment", "state"):
        table.add_column(name, no_wrap=True)
    numbers = ("trials done", "stopped early", "failed", "best F1 val", "trial", "last report")
    for name in numbers:
        table.add_column(name, justify="right")
    for one in states:
        if one.error:
            table.add_row(one.name, one.state)
            continue
        best, since = one.best, one.last_report_s
        score = f"{best.f1_macro_val:.3f}" if best and best.f1_macro_val is not None else ""
        counts = (f"{one.finished}/{one.total}", str(one.pruned), str(one.failed))
        ago = "" if since is None else f"{duration(since)} ago"
        table.add_row(one.name, one.state, *counts, score, str(best.number) if best else "", ago)
    problems = [Text(f"{one.name}: {one.error}", overflow="fold") for one in states if one.error]
    return Group(table, *problems)
