"""Reading an experiment's folder: its record and its trials. Imports neither torch nor Ray."""

import contextlib
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dann_search.config.experiment import Experiment
from dann_search.errors import InputError, nearest
from dann_search.results.confirmation import with_confirmations
from dann_search.storage.driver_lock import driver_is_alive, driver_is_here
from dann_search.storage.layout import ExperimentFolder, default_storage
from dann_search.storage.remote_folder import RemoteFolder, is_url
from dann_search.study.study_names import (
    BEST,
    CONFIG,
    CONFIRMS,
    ERROR,
    ORIGIN,
    STOPPED_BY,
    TOTAL,
    is_own,
)

STATES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}
"""Optuna's states in our words; every other one is unfinished: ``running``."""


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        number: its number in the study.
        state: completed, pruned, failed or running (unfinished).
        score: the objective's value at its best epoch; None before the first.
        f1_macro_val: of that epoch.
        validators: of that epoch, by name; empty where an older version searched.
        epochs: epochs done.
        best_epoch: the epoch of highest score, the earliest on ties.
        config: the whole recipe.
        params: the searched parameters that apply to it.
        error: why it failed.
        origin: where its values are from: a published recipe, a start point; the sampler's: None.
        confirms: number of the trial that it trains again with another seed.
        confirmed: scores of the completed trials that confirm this one.
        is_confirmed: whether their mean decides its rank: all finalists have all their seeds.
        ended: when it ended, in seconds of the epoch; None while it has not.
    """

    number: int
    state: str
    score: float | None
    f1_macro_val: float | None
    validators: dict[str, float]
    epochs: int
    best_epoch: int | None
    config: dict[str, Any]
    params: dict[str, Any]
    error: str | None
    origin: str | None = None
    confirms: int | None = None
    confirmed: tuple[float, ...] = ()
    is_confirmed: bool = False
    ended: float | None = None

    @property
    def confirmed_mean(self) -> float | None:
        """Mean score over the new seeds that it was trained with so far, if any."""
        return statistics.fmean(self.confirmed) if self.confirmed else None

    @property
    def confirmed_sd(self) -> float | None:
        """Standard deviation over the new seeds; None for fewer than two."""
        return statistics.stdev(self.confirmed) if len(self.confirmed) > 1 else None


def open_experiment(
    name_or_path: str | Path, storage: str | Path | None = None
) -> ExperimentFolder:
    """Find an experiment by its folder, or by its name under ``runs`` or another ``storage``.

    Raises:
        InputError: there is none.
    """
    storages = [default_storage()] if storage is None else [str(storage), default_storage()]
    places = [str(name_or_path)]
    if not is_url(name_or_path):
        places += [f"{one.rstrip('/')}/{name_or_path}" for one in storages]
    for place in places:
        folder = experiment_at(place)
        if folder.record.is_file():
            return folder
    if is_url(name_or_path) or Path(name_or_path).exists():
        raise InputError(f"{name_or_path}: no experiment (it has no {folder.record.name})")
    names = {name for one in storages for name in experiment_names(one)}
    hint = nearest(name_or_path, names) if names else f"there are none under {storages[0]}/"
    raise InputError(f"no experiment '{name_or_path}'; {hint}")


def experiment_at(place: str) -> ExperimentFolder:
    """The folder at a path or URL, whether there is an experiment or not; fresh where it is one."""
    folder = ExperimentFolder.at(place if is_url(place) else Path(place).expanduser().resolve())
    refresh(folder)
    return folder


def refresh(folder: ExperimentFolder) -> None:
    """Have record and study as they are on storage, where storage is behind a URL.

    A driver of this machine works on them: they are left alone as long as it does.
    """
    if folder.remote is None or driver_is_here(folder.lock):
        return
    folder.refresh(
        folder.record, folder.study, folder.study_journal, folder.leaderboard, folder.job
    )


def experiment_names(storage: str) -> list[str]:
    """Names of the experiments under a storage folder or URL."""
    if is_url(storage):
        remote = RemoteFolder.of(storage)
        record = ExperimentFolder(remote.local).record.name
        return [name for name in remote.folders() if remote.exists(f"{name}/{record}")]
    if not Path(storage).is_dir():
        return []
    folders = Path(storage).iterdir()
    return sorted(p.name for p in folders if ExperimentFolder(p).record.is_file())


def read_record(folder: ExperimentFolder) -> dict[str, Any]:
    """The record that the launch wrote: experiment, versions, data.

    Raises:
        InputError: it is damaged.
    """
    try:
        content = yaml.safe_load(folder.record.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise InputError(f"{folder.record}: cannot be read: {exc}") from None
    if not isinstance(content, dict) or not {"experiment", "data", "versions"} <= content.keys():
        raise InputError(f"{folder.record}: not the record of an experiment")
    return content


def read_experiment(folder: ExperimentFolder) -> Experiment:
    """The experiment as it was launched; its folder may have been moved or renamed since."""
    try:
        return Experiment.model_validate(read_record(folder)["experiment"])
    except ValidationError as exc:
        raise InputError(f"{folder.record}: {exc.errors()[0]['msg']}") from None


def read_trials(folder: ExperimentFolder) -> list[TrialRow]:
    """Every trial of the study, by number; none where the study was not made yet."""
    refresh(folder)
    experiment = read_experiment(folder)
    trials, _ = _read_study(folder, experiment)
    return with_confirmations(experiment, [_row(trial) for trial in trials])


@dataclass(frozen=True)
class SearchState:
    """A search as storage has it.

    Attributes:
        experiment: what is searched.
        rows: its trials, by number.
        total: trials it is to have.
        stopped_by: why it last ended; None while it goes on, and after a crash.
        searching: whether a driver is at work.
        reported: when a trial last told of an epoch or of its end, in seconds of the epoch.
    """

    experiment: Experiment
    rows: list[TrialRow]
    total: int
    stopped_by: str | None
    searching: bool
    reported: float | None


def read_search(folder: ExperimentFolder) -> SearchState:
    """A search as it stands, also while another process is at it."""
    # First of all: a search that ends while we read has then told all it had to.
    searching = driver_is_alive(folder)
    refresh(folder)
    experiment = read_experiment(folder)
    trials, attributes = _read_study(folder, experiment)
    rows = with_confirmations(experiment, [_row(trial) for trial in trials])
    total = int(attributes.get(TOTAL, experiment.search.trials))
    if experiment.search.sampler == "grid":
        total = min(total, _grid_size(experiment) or total)
    times = [row.ended for row in rows if row.ended is not None]
    for row in rows:
        if row.state == "running":
            # A trial writes its checkpoint, then reports the epoch.
            times += _written(folder.trial(row.number))
    return SearchState(
        experiment=experiment,
        rows=rows,
        total=total,
        stopped_by=attributes.get(STOPPED_BY),
        searching=searching,
        reported=max(times, default=None),
    )


def _grid_size(experiment: Experiment) -> int | None:
    from dann_search.config.grid import combinations
    from dann_search.config.space import build_space
    from dann_search.models.registry import stage_counts

    return combinations(build_space(experiment, stage_counts()))


def _written(folder: Path) -> list[float]:
    """When each file of a trial was written last."""
    times = []
    for path in folder.glob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):  # a checkpoint gave way to a newer one
            times.append(path.stat().st_mtime)
    return times


def open_study_trials(folder: ExperimentFolder) -> list[Any]:
    """Every trial trained here as Optuna holds it, by number.

    Raises:
        InputError: the study cannot be opened.
    """
    refresh(folder)
    return _read_study(folder, read_experiment(folder))[0]


def _read_study(
    folder: ExperimentFolder, experiment: Experiment
) -> tuple[list[Any], dict[str, Any]]:
    """The study's trials and attributes; neither where it was not made yet."""
    import optuna

    from dann_search.study.study_storage import find_study, opened, study_place

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = study_place(folder, experiment.search.study)
    if not place.exists(experiment.name):
        return [], {}
    with opened(place) as storage:
        study = find_study(storage, place, experiment.name, folder)
        trials = storage.get_all_trials(study, deepcopy=False)
        attributes = storage.get_study_user_attrs(study)
        return [trial for trial in trials if is_own(trial)], attributes


def _row(trial: Any) -> TrialRow:
    scores = trial.intermediate_values
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch), default=None)
    score = None if best is None else scores[best]
    noted = trial.user_attrs.get(BEST, {})
    config = trial.user_attrs.get(CONFIG, {})
    # The study names the depth by backbone: unfrozen_depth.resnet18.
    searched = {name.split(".")[0]: value for name, value in trial.params.items()}
    return TrialRow(
        number=trial.number,
        state=STATES.get(trial.state.name, "running"),
        score=score,
        f1_macro_val=noted.get("f1_macro_val", score),
        validators=noted.get("validators", {}),
        epochs=len(scores),
        best_epoch=best,
        config=config,
        # As trained: the study's own values have digits that came of adding steps.
        params={name: config.get(name, value) for name, value in searched.items()},
        error=trial.user_attrs.get(ERROR),
        origin=trial.user_attrs.get(ORIGIN),
        confirms=trial.user_attrs.get(CONFIRMS),
        ended=trial.datetime_complete and trial.datetime_complete.timestamp(),
    )
