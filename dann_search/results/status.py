"""What is running, what is done, what is best so far: read from storage alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dann_search.errors import InputError
from dann_search.outputs.trials import FailedTrial, RunningTrial, Status
from dann_search.results.leaderboard import best_trial
from dann_search.results.reader import SearchState, experiment_at, experiment_names, read_search
from dann_search.results.rows import TrialRow, confirmation_of
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.result import F1_MACRO

BY_ITSELF = {
    "time": "its hours are spent",
    "cpu_hours": "its CPU-hours are spent",
    "gpu_hours": "its GPU-hours are spent",
    "no_improvement": "no trial improved on the best for long",
    "target": "the target was reached",
}
"""Why a search may end before it has all its trials, and yet be done."""


@dataclass(frozen=True)
class Snapshot:
    """A search at one moment, as the live table shows it.

    Attributes:
        status: its status.
        rows: its trials, by number; none if it cannot be read.
        reported: Unix time at which a trial last reported an epoch or its end; None before.
        begun: Unix time at which this process began to search; None if another process searches.
        scheduler: what stops its trials early.
        to_confirm: number of trainings that confirm its finalists.
        stage: what this process does until a first epoch is reported; empty after that.
    """

    status: Status
    rows: Sequence[TrialRow] = ()
    reported: float | None = None
    begun: float | None = None
    scheduler: str = "none"
    to_confirm: int = 0
    stage: str = ""

    @property
    def running(self) -> list[TrialRow]:
        """Trials that are not over, those that confirm a finalist included."""
        return _running(self.rows)

    @property
    def ended(self) -> list[TrialRow]:
        """Trials that are over, in the order of their end."""
        return _ended(self.rows)


def _running(rows: Sequence[TrialRow]) -> list[TrialRow]:
    return [row for row in rows if row.state == "running"]


def _ended(rows: Sequence[TrialRow]) -> list[TrialRow]:
    over = [row for row in rows if row.state != "running"]
    return sorted(over, key=lambda row: (row.ended or 0.0, row.number))


def status(folder: ExperimentFolder) -> Status:
    """Read the status of one experiment."""
    return snapshot(folder).status


def snapshot(folder: ExperimentFolder) -> Snapshot:
    """Read one experiment with its trials."""
    return snapshot_of(folder, read_search(folder))


def all_snapshots(storage: str) -> list[Snapshot]:
    """Read every experiment under a storage folder or URL, by name.

    The status of an experiment that cannot be read says why.
    """
    names = experiment_names(storage)
    return [_readable(experiment_at(f"{storage.rstrip('/')}/{name}")) for name in names]


def _readable(folder: ExperimentFolder) -> Snapshot:
    try:
        return snapshot(folder)
    except InputError as exc:
        return Snapshot(_unreadable(folder, str(exc)))


def snapshot_of(
    folder: ExperimentFolder, search: SearchState, begun: float | None = None, stage: str = ""
) -> Snapshot:
    """Summarize a search that was read, or that this process runs since ``begun``.

    ``stage`` is what this process does before the first epoch.
    """
    config = search.experiment.search
    return Snapshot(
        _status(folder, search),
        search.rows,
        search.reported,
        begun,
        config.scheduler,
        config.confirm.top * config.confirm.seeds if config.confirm else 0,
        stage,
    )


def _status(folder: ExperimentFolder, search: SearchState) -> Status:
    states = [row.state for row in search.rows if row.confirms is None]
    since = None if search.reported is None else max(0.0, time.time() - search.reported)
    return Status(
        experiment=str(folder),
        name=folder.root.name,
        state=_state(search),
        error=None,
        searching=search.searching,
        stopped_by=search.stopped_by,
        objective=search.experiment.search.objective,
        total=search.total,
        completed=states.count("completed"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        running=states.count("running"),
        epochs=search.experiment.fixed.epochs,
        running_trials=[
            RunningTrial(
                trial=row.number,
                epochs=row.epochs,
                f1_macro_val=row.f1_macro_val,
                confirms=row.confirms,
            )
            for row in _running(search.rows)
        ],
        failures=[
            FailedTrial(trial=row.number, error=row.error or "no error was recorded")
            for row in _ended(search.rows)
            if row.state == "failed"
        ],
        last_report_s=None if since is None else round(since, 1),
        best=best_trial(search.rows),
        trouble=search.trouble,
        confirmation=confirmation_of(search.experiment, search.rows),
    )


def _state(search: SearchState) -> Literal["searching", "interrupted", "done"]:
    if search.searching:
        return "searching"
    over = sum(row.state != "running" for row in search.rows if row.confirms is None)
    confirmation = confirmation_of(search.experiment, search.rows)
    is_whole = confirmation is None or confirmation.is_whole
    is_over = over >= search.total and is_whole and not _running(search.rows)
    return "done" if is_over or search.stopped_by in BY_ITSELF else "interrupted"


def _unreadable(folder: ExperimentFolder, error: str) -> Status:
    return Status(
        experiment=str(folder),
        name=folder.root.name,
        state="unreadable",
        error=error,
        searching=driver_is_alive(folder),
        stopped_by=None,
        objective=F1_MACRO,
        total=0,
        completed=0,
        pruned=0,
        failed=0,
        running=0,
        epochs=0,
        running_trials=[],
        failures=[],
        last_report_s=None,
        best=None,
        confirmation=None,
        trouble=None,
    )
