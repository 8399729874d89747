"""Trials in memory, and the storage behind that has the same."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from dann_search.study.optuna_private import storage_id
from dann_search.study.remembered import RememberedStorage

NAME = "remembered"


def database(folder: Path, name: str = "study") -> RDBStorage:
    return RDBStorage(f"sqlite:///{folder / name}.db")


def journal(folder: Path, name: str = "study") -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(folder / f"{name}.log")))


def remembered(behind: BaseStorage) -> RememberedStorage:
    optuna.create_study(study_name=NAME, storage=behind, direction="maximize")
    return RememberedStorage(behind, NAME)


def search(study: optuna.Study, trials: int) -> None:
    """Two values of every kind a search writes; some trials stopped, some failed, one enqueued."""
    study.enqueue_trial({"rate": 0.25}, user_attrs={"origin": ("by", "hand")})
    pruner = optuna.pruners.SuccessiveHalvingPruner()
    for number in range(trials):
        trial = study.ask()
        rate = trial.suggest_float("rate", 0.0, 1.0)
        norm = trial.suggest_categorical("norm", ["joint", "separate"])
        trial.set_user_attr("config", {"norm": norm, "shape": (1, 2)})
        for epoch in (1, 2):
            trial.report(epoch - abs(rate - 0.4), epoch)
            pruner.prune(study, study.trials[-1])
        trial.set_constraint("confirms", float(number == 3))
        if number % 4 == 1:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, 2 - abs(rate - 0.4))


def content(trial: FrozenTrial) -> dict[str, Any]:
    fields = ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs")
    return {
        **{name: getattr(trial, name) for name in fields},
        "epochs": trial.intermediate_values,
        "start": trial.datetime_start is not None,
        "end": trial.datetime_complete is not None,
    }


def stored(behind: BaseStorage) -> list[dict[str, Any]]:
    study = optuna.load_study(study_name=NAME, storage=behind)
    return [content(trial) for trial in study.trials]


def sampler() -> TPESampler:
    return TPESampler(seed=7, n_startup_trials=2)


@pytest.mark.parametrize("make", [database, journal])
def test_a_remembered_study_proposes_and_stores_what_one_on_its_storage_does(
    tmp_path: Path, make: Any
) -> None:
    plain = make(tmp_path, "plain")
    alone = optuna.create_study(
        study_name=NAME, storage=plain, sampler=sampler(), direction="maximize"
    )
    search(alone, 6)
    storage = remembered(make(tmp_path))
    study = optuna.load_study(study_name=NAME, storage=storage, sampler=sampler())
    with storage.together():
        search(study, 6)
    # A second process continues with what the first one has stored.
    storage = RememberedStorage(make(tmp_path), NAME)
    assert stored(storage) == stored(make(tmp_path)) == stored(plain)


def test_a_write_is_behind_when_it_returns(tmp_path: Path) -> None:
    storage = remembered(database(tmp_path))
    number = storage.create_new_trial(0)
    storage.set_trial_intermediate_value(number, 1, 0.5)
    storage.set_study_user_attr(0, "total", 3)
    other = optuna.load_study(study_name=NAME, storage=database(tmp_path))
    assert other.trials[0].intermediate_values == {1: 0.5}
    assert other.user_attrs == {"total": 3}


@pytest.mark.parametrize("make", [database, journal])
def test_optuna_reads_every_kind_of_value_that_a_report_may_have(tmp_path: Path, make: Any) -> None:
    storage = remembered(make(tmp_path))
    number = storage.create_new_trial(0)
    values = {1: 0.5, 2: math.inf, 3: -math.inf, 4: math.nan}
    for step in values:
        storage.set_trial_intermediate_value(number, step, 0.25)
    with storage.together():
        for step, value in values.items():
            storage.set_trial_intermediate_value(number, step, value)
        storage.set_trial_user_attr(number, "best", {"epoch": 1})
        storage.set_trial_user_attr(number, "best", {"epoch": 2, "of": ["ü", None]})
        storage.set_trial_system_attr(number, "rung", 0.5)
    (trial,) = optuna.load_study(study_name=NAME, storage=make(tmp_path)).trials
    assert str(trial.intermediate_values) == str(values)
    assert trial.user_attrs == {"best": {"epoch": 2, "of": ["ü", None]}}
    assert trial.system_attrs["rung"] == 0.5


def test_a_report_takes_a_statement_for_each_of_its_facts(tmp_path: Path) -> None:
    behind = database(tmp_path)
    storage = remembered(behind)
    number = storage.create_new_trial(0)
    statements: list[str] = []
    sqlalchemy.event.listen(
        behind.engine, "before_cursor_execute", lambda *told: statements.append(told[2])
    )
    with storage.together():
        storage.set_trial_intermediate_value(number, 1, 0.5)
        storage.set_trial_user_attr(number, "best", 1)
        storage.set_trial_system_attr(number, "rung", 0.5)
    assert [one.split()[:2] for one in statements] == 3 * [["INSERT", "INTO"]]


def test_what_belongs_together_is_behind_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = database(tmp_path)
    storage = remembered(behind)
    first = storage.create_new_trial(0)

    def report() -> None:
        with storage.together():
            storage.set_trial_intermediate_value(first, 1, 0.5)
            storage.set_trial_user_attr(first, "best", 1)
            storage.create_new_trial(0)

    with monkeypatch.context() as patch:
        patch.setattr(behind, "create_new_trial", _disk_full)
        with pytest.raises(OSError, match="disk full"):
            report()
    assert stored(behind) == stored(storage)
    assert [(one["epochs"], one["user_attrs"]) for one in stored(storage)] == [({}, {})]
    report()
    assert stored(behind) == stored(storage)
    assert [one["epochs"] for one in stored(storage)] == [{1: 0.5}, {}]


def _disk_full(*arguments: Any) -> int:
    raise OSError("disk full")


def test_an_error_within_a_block_leaves_nothing_of_it(tmp_path: Path) -> None:
    behind = database(tmp_path)
    storage = remembered(behind)
    with pytest.raises(ValueError, match="no"), storage.together():
        storage.create_new_trial(0)
        raise ValueError("no")
    assert stored(storage) == stored(behind) == []


def test_reads_do_not_ask_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = database(tmp_path)
    storage = remembered(behind)
    number = storage.create_new_trial(0)
    for name in ("get_trial", "get_all_trials", "get_study_user_attrs"):
        monkeypatch.setattr(behind, name, None)
    assert storage.get_trial(number).state == TrialState.RUNNING
    assert [storage_id(trial) for trial in storage.get_all_trials(0)] == [0]
    assert storage.get_study_user_attrs(0) == {}
