"""Which models and checkpoints a search keeps while it runs."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import ConfirmConfig, SearchConfig
from dann_search.errors import RunError
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.retention import MODEL, TO_GO_ON, Retention, models_to_keep, with_models
from dann_search.study.study_names import CONFIRMS, ERROR

ALL = {MODEL, *TO_GO_ON}
RECORD = "trial.json"


def trial(state: TrialState, score: float | None = None, **attrs: Any) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=state,
        value=score if state == TrialState.COMPLETE else None,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values={} if score is None else {1: score},
        user_attrs=attrs,
    )


class Searching:
    """A study whose trials end one after another, each with all its files."""

    def __init__(self, folder: Path, keep: int):
        self.study = optuna.create_study(direction="maximize")
        self.folder, self.said = ExperimentFolder(folder), list[str]()
        self.folder.trials.mkdir()
        self.retention = Retention(
            self.study, self.folder, SearchConfig(keep_best=keep), self.said.append
        )

    def end(self, state: TrialState, score: float | None = None, **attrs: Any) -> None:
        number = len(self.study.trials)
        self.folder.trial(number).mkdir()
        for name in (*ALL, RECORD):
            (self.folder.trial(number) / name).touch()
        self.study.add_trial(trial(state, score, **attrs))
        self.retention.trial_ended(number, "", attrs.get(ERROR))

    def files(self) -> dict[int, set[str]]:
        self.retention.close()
        found = {int(p.name): {f.name for f in p.iterdir()} for p in self.folder.trials.iterdir()}
        return {number: names - {RECORD} for number, names in found.items() if names != {RECORD}}


def test_the_best_models_stay_and_nothing_to_go_on_from(tmp_path: Path) -> None:
    search = Searching(tmp_path, keep=2)
    for score in (0.3, 0.5, 0.1, 0.4):
        search.end(TrialState.COMPLETE, score)
    search.end(TrialState.PRUNED, 0.9)  # below every completed one
    assert search.files() == {1: {MODEL}, 3: {MODEL}}


def test_checkpoints_that_alone_have_a_trial_s_epochs_stay(tmp_path: Path) -> None:
    search = Searching(tmp_path, keep=1)
    search.end(TrialState.COMPLETE, 0.3)
    search.folder.trial(1).mkdir()
    (search.folder.trial(1) / "last.safetensors").touch()
    search.study.add_trial(trial(TrialState.PRUNED, 0.1))
    search.retention.trial_ended(1, "pruned", None)
    assert search.files() == {0: {MODEL}, 1: {"last.safetensors"}}


def test_stopped_trials_fill_up_what_completed_ones_leave(tmp_path: Path) -> None:
    search = Searching(tmp_path, keep=2)
    search.end(TrialState.PRUNED, 0.2)
    search.end(TrialState.PRUNED, 0.3)
    search.end(TrialState.COMPLETE, 0.1)
    assert search.files() == {1: {MODEL}, 2: {MODEL}}


def test_a_trial_that_failed_keeps_all_unless_its_recipe_is_to_blame(tmp_path: Path) -> None:
    search = Searching(tmp_path, keep=2)
    search.end(TrialState.FAIL, 0.4, **{ERROR: "its worker died 3 times while training it"})
    search.end(TrialState.FAIL, 0.4, **{ERROR: "the loss became nan in epoch 2; …"})
    assert search.files() == {0: ALL}


def test_a_finalist_stays_however_many_become_better_and_its_repetitions_leave_no_model(
    tmp_path: Path,
) -> None:
    search = Searching(tmp_path, keep=1)
    search.end(TrialState.COMPLETE, 0.4)
    search.end(TrialState.COMPLETE, 0.5, **{CONFIRMS: 0})
    search.end(TrialState.COMPLETE, 0.6)
    search.end(TrialState.COMPLETE, 0.7)
    assert search.files() == {0: {MODEL}, 3: {MODEL}}


def test_as_many_models_are_kept_as_there_are_finalists() -> None:
    assert models_to_keep(SearchConfig(keep_best=1, confirm=ConfirmConfig(top=4))) == 4
    assert models_to_keep(SearchConfig()) == 10
    assert with_models([trial(TrialState.RUNNING, 0.5)], 3) == set()


def test_what_killed_workers_left_goes_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "0"
    folder.mkdir(parents=True)
    for name in (".best.safetensors.812", ".trial.json.9", "last.safetensors", "error.txt"):
        (folder / name).touch()
    study = optuna.create_study(direction="maximize")
    Retention(study, ExperimentFolder(tmp_path), SearchConfig(), print).close()
    assert {path.name for path in folder.iterdir()} == {"last.safetensors", "error.txt"}


def test_storage_that_refuses_to_delete_ends_no_search_and_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: ExperimentFolder, path: Path) -> None:
        raise RunError("storage does not answer")

    monkeypatch.setattr(ExperimentFolder, "remove", refuse)
    search = Searching(tmp_path, keep=1)
    search.end(TrialState.COMPLETE, 0.4)
    search.end(TrialState.COMPLETE, 0.5)
    assert search.files() == {0: ALL, 1: ALL}
    assert len(search.said) == 1 and "storage does not answer" in search.said[0]


def test_models_behind_a_url_go_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder, study = ExperimentFolder.at("memory://retention/small"), optuna.create_study()
    assert folder.remote
    retention = Retention(study, folder, SearchConfig(keep_best=1), print)
    for number, score in enumerate((0.3, 0.5)):
        for name in (*ALL, RECORD):
            folder.remote.write(f"trials/{number}/{name}", b"")
        folder.trial(number).mkdir(parents=True)
        folder.trial_record(number).touch()
        study.add_trial(trial(TrialState.COMPLETE, score))
        retention.trial_ended(number, "completed", None)
    retention.close()
    there = folder.remote.files("trials")
    assert there == [f"trials/0/{RECORD}", f"trials/1/{MODEL}", f"trials/1/{RECORD}"]
