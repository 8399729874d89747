"""Gather everything that a report shows before anything is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dann_search.config.experiment import ExperimentConfig
from dann_search.data.store import StoreInfo
from dann_search.errors import InputError, RunError
from dann_search.outputs.comparison import Comparison
from dann_search.outputs.models import Evaluation, Measurement
from dann_search.outputs.trials import Status
from dann_search.report.inside import Inside, look_inside
from dann_search.report.measured import Absent, read_comparison, read_evaluation, shown
from dann_search.report.search import Search, look_at_search
from dann_search.results.choose import choose
from dann_search.results.epochs import Epoch, read_epochs
from dann_search.results.reader import read_experiment, read_record
from dann_search.results.rows import TrialRow
from dann_search.results.status import snapshot
from dann_search.storage.layout import ExperimentFolder


@dataclass(frozen=True)
class Content:
    """One experiment, its best trial, and what is known about it.

    ``test`` and ``compared`` are what ``evaluate`` and ``compare`` wrote of that trial, ``inside``
    is what running its network shows. ``notes`` are sentences on what is missing or not final.
    """

    folder: ExperimentFolder
    experiment: ExperimentConfig
    record: dict[str, Any]
    info: StoreInfo
    status: Status
    search: Search
    best: TrialRow
    epochs: list[Epoch]
    test: Evaluation | None
    compared: Comparison | None
    inside: Inside | None
    notes: list[str]

    @property
    def partial(self) -> bool:
        """Whether the search is not over yet."""
        return self.status.state != "done"

    @property
    def measured(self) -> Measurement | None:
        """Scores by class and calibration: on test if it was evaluated, else on val."""
        return self.test or (self.inside.val if self.inside else None)


def gather(
    folder: ExperimentFolder, tell: Callable[[str], None], run_model: bool = True
) -> Content:
    """Read an experiment and run its best model, unless only the search is to be shown.

    Raises:
        InputError: no trial has finished, or the study cannot be read.
    """
    taken = snapshot(folder)
    state, rows = taken.status, list(taken.rows)
    best = choose(rows, folder)
    experiment, record = read_experiment(folder), read_record(folder)
    search = look_at_search(folder, experiment, rows)
    notes, info = _unfinished(state), StoreInfo(**record["data"])
    test = compared = None
    if info.target_labelled:
        test = _present(lambda: read_evaluation(folder, best.number), notes)
        compared = _present(lambda: read_comparison(folder, best.number), notes)
    else:
        lacks = "no labels to measure by" if info.few_labels else "no labels"
        notes.append(
            f"The target {info.domains['target']} has {lacks}: nothing was measured on it, and "
            f"{experiment.search.objective}, which needs none, chose the model. To measure it on "
            f"labelled images, run: dann-search evaluate {shown(folder)} --data FOLDER."
        )
    inside = _inside(folder, experiment, best, compared, tell, notes) if run_model else None
    return Content(
        folder=folder,
        experiment=experiment,
        record=record,
        info=info,
        status=state,
        search=search,
        best=best,
        epochs=read_epochs(folder, best.number),
        test=test,
        compared=compared,
        inside=inside,
        notes=notes,
    )


def _unfinished(state: Status) -> list[str]:
    if state.state == "done":
        return []
    what = "is still running" if state.searching else "was interrupted"
    return [
        f"This report is partial: the search {what}. {state.finished} of {state.total} trials are "
        f"over, {state.running} more were begun; everything below is as of now."
    ]


def _present(read: Callable[[], Any], notes: list[str]) -> Any:
    try:
        return read()
    except Absent as exc:
        notes.append(f"{exc}.")
        return None


def _inside(
    folder: ExperimentFolder,
    experiment: ExperimentConfig,
    best: TrialRow,
    compared: Comparison | None,
    tell: Callable[[str], None],
    notes: list[str],
) -> Inside | None:
    """Run the model; where that is impossible, add a note and return None."""
    try:
        inside = look_inside(folder, experiment, best, compared, tell)
    except (InputError, RunError, OSError, ValueError) as exc:
        reason = str(exc)
        if isinstance(exc, OSError) and exc.strerror:
            reason = f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
        notes.append(
            f"What needs the model to run (classes of val, features, images) is missing: {reason}."
        )
        return None
    if inside.lacks_plain:
        notes.append(
            "The network trained without adaptation is not shown, its checkpoint is not there; "
            f"run: dann-search compare {shown(folder)}."
        )
    return inside
