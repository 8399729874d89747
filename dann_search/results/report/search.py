"""What the study tells of a search: its trials, their curves, what mattered, what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from dann_search.config.experiment import Experiment
from dann_search.layout import ExperimentFolder
from dann_search.results import insight
from dann_search.results.leaderboard import ranked
from dann_search.results.reader import TrialRow, open_study_trials
from dann_search.study_names import SPENT
from dann_search.study_storage import opened, study_place


@dataclass(frozen=True)
class Spent:
    """What a search cost.

    Attributes:
        hours, cpu_hours, gpu_hours: as the search counted them; None where it did not.
        epochs: trained by all trials.
        saved: epochs that trials stopped early were spared.
    """

    hours: float | None
    cpu_hours: float | None
    gpu_hours: float | None
    epochs: int
    saved: int

    @property
    def saved_share(self) -> float:
        """Of the epochs that training every trial to its end would have taken."""
        return self.saved / max(self.epochs + self.saved, 1)


@dataclass(frozen=True)
class Search:
    """A search as it stands.

    Attributes:
        rows: every trial, best first.
        curves: the objective after each epoch, by trial.
        history, slices, importance: see ``results.insight``.
        spent: what it cost.
    """

    rows: list[TrialRow]
    curves: dict[int, list[float]]
    history: list[insight.Point]
    slices: dict[str, list[insight.Point]]
    importance: insight.Importance
    spent: Spent


def look_at_search(
    folder: ExperimentFolder, experiment: Experiment, rows: Sequence[TrialRow]
) -> Search:
    """What else the study tells of trials just read; a search that still runs may have more."""
    return Search(
        rows=ranked(rows),
        curves={
            trial.number: [value for _, value in sorted(trial.intermediate_values.items())]
            for trial in open_study_trials(folder)
        },
        history=insight.history(folder),
        slices=insight.slices(folder),
        importance=insight.importance(folder),
        spent=_spent(rows, _counted(folder, experiment)),
    )


def _counted(folder: ExperimentFolder, experiment: Experiment) -> dict[str, float]:
    """Hours that the search itself counted."""
    place = study_place(folder, experiment.search.study)
    with opened(place) as storage:
        (study,) = [s for s in storage.get_all_studies() if s.study_name == experiment.name]
        counted: dict[str, float] = storage.get_study_user_attrs(study._study_id).get(SPENT, {})
        return counted


def _spent(rows: Sequence[TrialRow], counted: dict[str, float]) -> Spent:
    pruned = [row for row in rows if row.state == "pruned"]
    return Spent(
        hours=counted.get("hours"),
        cpu_hours=counted.get("cpu_hours"),
        gpu_hours=counted.get("gpu_hours"),
        epochs=sum(row.epochs for row in rows),
        saved=sum(max(0, row.config.get("epochs", row.epochs) - row.epochs) for row in pruned),
    )
