"""A study read without Optuna is what Optuna reads; whatever is unusual is left to Optuna."""

import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from dann_search.results import reader
from dann_search.results.reader import read_experiment, read_search, read_trials
from dann_search.results.rows import rows_of
from dann_search.results.sqlite_study import read_sqlite_study
from dann_search.storage.layout import ExperimentFolder


def test_rows_and_attributes_are_those_of_optuna(
    searched: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = read_experiment(searched)
    theirs, attributes = reader._read_by_optuna(searched, experiment)
    found = read_sqlite_study(searched.study, "small")
    assert found and found[1] == attributes
    rows = rows_of(experiment, found[0])
    assert rows == rows_of(experiment, theirs)
    assert {type(row.params["unfrozen_depth"]) for row in rows} == {int}
    monkeypatch.setattr(reader, "_read_by_optuna", None)
    assert read_search(searched).rows == rows


def test_values_of_every_kind_are_those_of_optuna(tmp_path: Path) -> None:
    study = optuna.create_study(study_name="odd", storage=f"sqlite:///{tmp_path}/study.db")
    for value in (0.5, math.nan, math.inf, -math.inf):
        trial = study.ask()
        trial.suggest_categorical("kind", [None, "a", True, 2])
        trial.suggest_int("depth", 1, 3)
        trial.suggest_float("rate", 1e-3, 1, log=True)
        trial.report(value, 1)
        trial.set_user_attr("noted", {"of": [value == 0.5, None]})
    study.tell(0, state=optuna.trial.TrialState.FAIL)
    found = read_sqlite_study(tmp_path / "study.db", "odd")
    assert found
    for mine, theirs in zip(found[0], study.trials, strict=True):
        ended, before = mine.datetime_complete, theirs.datetime_complete
        assert (ended and ended.timestamp()) == (before and before.timestamp())
        assert (mine.number, mine.state.name) == (theirs.number, theirs.state.name)
        assert (mine.params, mine.user_attrs) == (theirs.params, theirs.user_attrs)
        assert list(mine.params) == list(theirs.params)
        assert repr(mine.intermediate_values) == repr(theirs.intermediate_values)


def _changed(statement: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        with sqlite3.connect(file) as database:
            database.execute(statement)
        database.close()

    return change


@pytest.mark.parametrize(
    "change",
    [
        _changed("UPDATE alembic_version SET version_num = 'v9.0.0'"),
        _changed("INSERT INTO studies (study_name) VALUES ('other')"),
        _changed("UPDATE trial_user_attributes SET value_json = '{'"),
        _changed('UPDATE trial_params SET distribution_json = \'{"name": "New"}\''),
        _changed("DELETE FROM trials WHERE number = 0"),
        _changed("DROP TABLE trial_params"),
        Path.unlink,
        lambda file: file.write_bytes(b"no database" * 1000),
    ],
)
def test_what_is_unusual_is_left_to_optuna(experiment: ExperimentFolder, change: Any) -> None:
    change(experiment.study)
    assert read_sqlite_study(experiment.study, "small") is None


def test_what_a_killed_writer_left_half_written_is_undone_by_optuna(
    experiment: ExperimentFolder,
) -> None:
    rows = read_trials(experiment)
    code = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN IMMEDIATE'); "
        "db.execute('UPDATE trial_user_attributes SET value_json = 7'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(experiment.study)], check=True)
    assert experiment.study.with_name("study.db-journal").exists()
    assert read_sqlite_study(experiment.study, "small") is None
    assert read_trials(experiment) == rows


def test_a_path_may_have_any_letters_and_its_file_is_left_as_it_is(
    experiment: ExperimentFolder, tmp_path: Path
) -> None:
    file = tmp_path / "50%? #1" / "study.db"
    file.parent.mkdir()
    file.write_bytes(experiment.study.read_bytes())
    file.chmod(0o400)
    assert read_sqlite_study(file, "small") == read_sqlite_study(experiment.study, "small")
    assert [one.name for one in file.parent.iterdir()] == ["study.db"]
