"""Read a search from its study: trials, curves, importance of parameters, cost."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dann_search.config.experiment import ExperimentConfig
from dann_search.outputs.report import Spent
from dann_search.results import insight
from dann_search.results.epochs import read_epochs
from dann_search.results.leaderboard import ranked
from dann_search.results.reader import open_study_trials
from dann_search.results.rows import TrialRow
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_names import SPENT
from dann_search.study.study_storage import find_study, opened, study_place

MOST_TIMED = 200
"""Pruned trials whose epochs are read, evenly spaced: behind a URL each costs a request."""


@dataclass(frozen=True)
class Search:
    """A search as it stands: trials, best first, and the objective after each epoch by trial.

    ``history``, ``slices`` and ``importance`` are those of ``results.insight``.
    """

    rows: list[TrialRow]
    curves: dict[int, list[float]]
    history: list[insight.Point]
    slices: dict[str, list[insight.Point]]
    importance: insight.Importance
    spent: Spent


def look_at_search(
    folder: ExperimentFolder, experiment: ExperimentConfig, rows: Sequence[TrialRow]
) -> Search:
    """Read the rest of what the study knows about trials; a running search may have added more."""
    return Search(
        rows=ranked(rows),
        curves={
            trial.number: [value for _, value in sorted(trial.intermediate_values.items())]
            for trial in open_study_trials(folder)
        },
        history=insight.history(folder),
        slices=insight.slices(folder),
        importance=insight.importance(folder),
        spent=cost_of(folder, experiment, rows),
    )


def cost_of(
    folder: ExperimentFolder, experiment: ExperimentConfig, rows: Sequence[TrialRow]
) -> Spent:
    """Return the hours that a search counted, and estimate those that early stopping saved."""
    place, takes = study_place(folder, experiment.search.study), experiment.resources
    with opened(place) as storage:
        study = find_study(storage, place, experiment.name, folder)
        counted: dict[str, float] = storage.get_study_user_attrs(study).get(SPENT, {})
    # Epochs that each pruned trial did not train.
    spared = {
        row.number: max(0, int(row.config.get("epochs", row.epochs)) - row.epochs)
        for row in rows
        if row.state == "pruned"
    }
    saved, cpu_hours = sum(spared.values()), counted.get("cpu_hours")
    seconds = _mean_seconds(folder, spared)
    cpu_saved = gpu_saved = None
    if seconds is not None and cpu_hours:
        cpu_saved = saved * seconds / 3600 * takes.workers_per_trial * takes.cpus_per_worker
        # Both were counted for the same trials, so their ratio is that of a trial's resources.
        gpu_saved = cpu_saved * counted.get("gpu_hours", 0.0) / cpu_hours
    return Spent(
        **{name: counted.get(name) for name in ("hours", "cpu_hours", "gpu_hours")},
        epochs=sum(row.epochs for row in rows),
        epochs_saved=saved,
        cpu_hours_saved=cpu_saved,
        gpu_hours_saved=gpu_saved,
    )


def _mean_seconds(folder: ExperimentFolder, spared: dict[int, int]) -> float | None:
    """Average each trial's seconds per epoch, weighted by the epochs it was spared."""
    step = max(1, math.ceil(len(spared) / MOST_TIMED))
    weighed = []
    for trial, epochs in list(spared.items())[::step]:
        timed = [epoch["seconds"] for epoch in read_epochs(folder, trial) if "seconds" in epoch]
        weighed += [(epochs, statistics.fmean(timed))] if epochs and timed else []
    total = sum(epochs for epochs, _ in weighed)
    return sum(epochs * seconds for epochs, seconds in weighed) / total if total else None
