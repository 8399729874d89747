"""Reading an experiment's folder: its record and its trials. Imports neither torch nor Ray."""

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dann_search.config.experiment import Experiment
from dann_search.errors import InputError, nearest
from dann_search.layout import DEFAULT_STORAGE, ExperimentFolder
from dann_search.study_names import BEST, CONFIG, CONFIRMS, ERROR, ORIGIN, is_own

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

    @property
    def confirmed_mean(self) -> float | None:
        """Mean score over the new seeds, where it was confirmed."""
        return statistics.fmean(self.confirmed) if self.confirmed else None

    @property
    def confirmed_sd(self) -> float | None:
        """Standard deviation over the new seeds; None for fewer than two."""
        return statistics.stdev(self.confirmed) if len(self.confirmed) > 1 else None


def open_experiment(name_or_path: str | Path, storage: Path | None = None) -> ExperimentFolder:
    """Find an experiment by its folder, or by its name under ``runs`` or another ``storage``.

    Raises:
        InputError: there is none.
    """
    storages = [DEFAULT_STORAGE] if storage is None else [storage, DEFAULT_STORAGE]
    for root in (Path(name_or_path), *(place / name_or_path for place in storages)):
        folder = ExperimentFolder(root.expanduser().resolve())
        if folder.record.is_file():
            return folder
    path = Path(name_or_path)
    if path.exists():
        raise InputError(f"{path}: no experiment (it has no {folder.record.name})")
    names = {name for place in storages for name in experiment_names(place)}
    hint = nearest(name_or_path, names) if names else f"there are none under {DEFAULT_STORAGE}/"
    raise InputError(f"no experiment '{name_or_path}'; {hint}")


def experiment_names(storage: Path) -> list[str]:
    """Names of the experiments under a storage folder."""
    if not storage.is_dir():
        return []
    return sorted(p.name for p in storage.iterdir() if ExperimentFolder(p).record.is_file())


def read_record(folder: ExperimentFolder) -> dict[str, Any]:
    """The record that the launch wrote: experiment, versions, data.

    Raises:
        InputError: it is damaged.
    """
    try:
        content = yaml.safe_load(folder.record.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as exc:
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
    return _with_confirmations([_row(trial) for trial in open_study_trials(folder)])


def open_study_trials(folder: ExperimentFolder) -> list[Any]:
    """Every trial trained here as Optuna holds it, by number.

    Raises:
        InputError: the study cannot be opened.
    """
    import optuna

    from dann_search.study_storage import find_study, opened, study_place

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    experiment = read_experiment(folder)
    place = study_place(folder, experiment.search.study)
    if not place.exists(experiment.name):
        return []
    with opened(place) as storage:
        study = find_study(storage, place, experiment.name)
        trials = storage.get_all_trials(study, deepcopy=False)
        return [trial for trial in trials if is_own(trial)]


def _with_confirmations(rows: list[TrialRow]) -> list[TrialRow]:
    scores: dict[int, list[float]] = {}
    for row in rows:
        if row.confirms is not None and row.state == "completed" and row.score is not None:
            scores.setdefault(row.confirms, []).append(row.score)
    return [replace(row, confirmed=tuple(scores.get(row.number, ()))) for row in rows]


def _row(trial: Any) -> TrialRow:
    scores = trial.intermediate_values
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch), default=None)
    score = None if best is None else scores[best]
    noted = trial.user_attrs.get(BEST, {})
    return TrialRow(
        number=trial.number,
        state=STATES.get(trial.state.name, "running"),
        score=score,
        f1_macro_val=noted.get("f1_macro_val", score),
        validators=noted.get("validators", {}),
        epochs=len(scores),
        best_epoch=best,
        config=trial.user_attrs.get(CONFIG, {}),
        # The study names the depth by backbone: unfrozen_depth.resnet18.
        params={name.split(".")[0]: value for name, value in trial.params.items()},
        error=trial.user_attrs.get(ERROR),
        origin=trial.user_attrs.get(ORIGIN),
        confirms=trial.user_attrs.get(CONFIRMS),
    )
