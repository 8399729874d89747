"""Where a study may be kept, whose it is, and what may change before it is opened again."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from dann_search.cli import main
from dann_search.config.load import load_experiment
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from dann_search.results.reader import read_trials
from dann_search.search.launch import prepare
from dann_search.storage.layout import ExperimentFolder
from dann_search.study import study_storage
from dann_search.study.study_storage import StudyPlace, open_study_storage, patience, study_place
from tests.experiments import space_file
from tests.studies import finish, folder_of, open_record

SPACE: dict[str, Any] = {
    "learning_rate": {"loguniform": [0.01, 0.1]},
    "lambda_max": {"uniform": [0.2, 0.8], "step": 0.2},
    "optimizer": {"choice": ["sgd", "adamw"]},
}


def places(tmp_path: Path) -> dict[str, str]:
    """A ``search.study`` of each kind."""
    return {"auto": "auto", "journal": "journal", "url": f"sqlite:///{tmp_path}/shared.db"}


@pytest.mark.parametrize("kind", ["auto", "journal", "url"])
def test_a_search_goes_on_from_each_kind_of_place(tmp_path: Path, kind: str) -> None:
    changes: dict[str, Any] = {
        "search__study": places(tmp_path)[kind],
        "search__scheduler": "asha",
    }
    record = open_record(tmp_path, **changes)
    first, second = record.next_trial(), record.next_trial()
    assert first and second
    record.report(first.number, [0.5])
    assert not record.should_stop(first.number)
    record.report(first.number, [0.5, 0.6, 0.4])
    record.complete(first.number)
    record.report(second.number, [0.1])
    record.close()
    folder = folder_of(tmp_path)
    assert folder.study.exists() == (kind == "auto")
    assert folder.study_journal.exists() == (kind == "journal")
    again = open_record(tmp_path, **changes)
    assert again.next_trial() == second
    assert again.tally.best() == (first.number, 0.6)
    assert again.should_stop(second.number)
    again.prune(second.number)
    again.close()
    assert [(row.state, row.score) for row in read_trials(folder)] == [
        ("completed", 0.6),
        ("pruned", 0.1),
    ]


def test_a_shared_file_system_gets_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ExperimentFolder(tmp_path)
    assert study_place(folder, "auto").kind == "sqlite"
    monkeypatch.setattr(study_storage, "is_shared", lambda path: True)
    assert study_place(folder, "auto").kind == "journal"
    folder.study.touch()  # one that is there stays what it is
    assert study_place(folder, "auto").kind == "sqlite"


def test_two_experiments_in_one_database_do_not_meet(tmp_path: Path) -> None:
    url = places(tmp_path)["url"]
    one = open_record(tmp_path, name="one", search__study=url)
    two = open_record(tmp_path, name="two", search__study=url)
    one.next_trial()
    assert (len(one.study.trials), len(two.study.trials)) == (1, 0)
    one.close()
    two.close()
    assert sorted(optuna.get_all_study_names(url)) == ["one", "two"]


def test_a_study_of_another_experiment_of_the_same_name_is_refused(tmp_path: Path) -> None:
    url = places(tmp_path)["url"]
    open_record(tmp_path, identity="a", search__study=url).close()
    open_record(tmp_path, identity="a", search__study=url).close()
    with pytest.raises(InputError, match="belongs to another experiment of that name"):
        open_record(tmp_path, identity="b", search__study=url)
    elsewhere = space_file(tmp_path, storage=str(tmp_path / "other"), search__study=url)
    with pytest.raises(InputError, match="holds a study 'small' already"):
        prepare(*load_experiment(elsewhere, stage_counts()))


@pytest.mark.parametrize("place", ["url", "auto"])
def test_readers_refuse_a_study_of_another_experiment_as_a_search_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    record = open_record(tmp_path, identity="a", search__study=places(tmp_path)[place])
    finish(record)
    record.close()
    folder = folder_of(tmp_path)
    assert [row.score for row in read_trials(folder)] == [0.5]
    content = yaml.safe_load(folder.record.read_text())
    folder.record.write_text(yaml.safe_dump({**content, "id": "b"}))
    for command in ("status", "leaderboard", "report", "dashboard", "best"):
        assert main([command, str(folder.root)]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert "its study 'small' belongs to another experiment of that name" in told


@pytest.mark.parametrize("moment", ["create_study", "add_trials", "set_user_attr"])
def test_a_study_whose_making_was_cut_off_is_made_anew_by_its_experiment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    url = places(tmp_path)["url"]
    recipe = {"lambda_schedule": "constant", "learning_rate": 0.05, "unfrozen_depth": 2}
    known = [KnownTrial(f"other trial {number}", recipe, 0.5) for number in (0, 1)]

    class PowerCut(BaseException):
        pass

    def cut_off(do: Any) -> Any:
        def run(*args: Any, **options: Any) -> None:
            if moment == "add_trials":  # the first of two is in
                args = (args[0], args[1][:1])
            do(*args, **options)
            raise PowerCut

        return run

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        at: Any = optuna if moment == "create_study" else optuna.Study
        patch.setattr(at, moment, cut_off(getattr(at, moment)))
        open_record(tmp_path, known=known, identity="a", search__study=url)
    folder = folder_of(tmp_path)
    assert read_trials(folder) == []
    path = space_file(tmp_path, storage=str(tmp_path / "other"), search__study=url)
    elsewhere = load_experiment(path, stage_counts())
    with pytest.raises(InputError, match=r"no experiment owns.*delete-study --study-name small"):
        prepare(*elsewhere)
    record = open_record(tmp_path, known=known, identity="a", search__study=url)
    assert len(record.study.trials) == 2
    assert record.study.user_attrs["experiment"] == "a"
    record.close()
    with pytest.raises(InputError, match="holds a study 'small' already"):
        prepare(*elsewhere)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me@host/x", {"connect_timeout": 10}),
        ("postgresql+psycopg://me@host/x", {"connect_timeout": 10}),
        ("postgresql+pg8000://me@host/x", {"timeout": 10}),
        ("mysql://me@host/x", {"connect_timeout": 10}),
        ("mysql+mysqlconnector://me@host/x", {"connection_timeout": 10}),
        ("mysql+pymysql://me@host/x?connect_timeout=3", {}),
        ("sqlite:////folder/x.db", {"timeout": 60}),
        ("mysql+nosuchdriver://me@host/x", {}),
        ("nosuchdb://host/x", {}),
    ],
)
def test_a_database_is_waited_for_no_longer_than_its_driver_can_be_told(
    url: str, expected: dict[str, int]
) -> None:
    assert patience(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////nowhere/at/all.db", "cannot be opened: .*unable to open database file"),
        ("mysql+nosuchdriver://me@localhost:1/x", "cannot be opened: .*nosuchdriver"),
        ("oracle+oracledb://me@localhost:1/x", "not installed: pip install 'oracledb'"),
        ("postgresql://me:$DANN_TEST_ABSENT@host/x", "takes .DANN_TEST_ABSENT from the environ"),
        ("nosuchdb://host/x", "cannot be opened: .*nosuchdb"),
    ],
)
def test_a_database_that_cannot_be_reached_is_said_before_anything_starts(
    tmp_path: Path, url: str, expected: str
) -> None:
    experiment, space = load_experiment(space_file(tmp_path, search__study=url), stage_counts())
    with pytest.raises(InputError, match=f"search.study: .*{expected}") as caught:
        prepare(experiment, space)
    assert "\n" not in str(caught.value)
    assert not Path(experiment.place).exists()


def test_a_password_is_taken_from_the_environment_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANN_TEST_FILE", str(tmp_path / "a.db"))
    place = StudyPlace("url", tmp_path / "unused", "sqlite:///$DANN_TEST_FILE")
    study_storage.close(open_study_storage(place))
    assert (tmp_path / "a.db").exists()
    assert "$DANN_PASSWORD" not in StudyPlace("url", tmp_path, "a://me:$DANN_PASSWORD@h/x").shown
    assert os.environ["DANN_TEST_FILE"] not in place.shown


def test_a_study_of_another_optuna_is_said_to_need_an_upgrade(tmp_path: Path) -> None:
    open_record(tmp_path, search__study="sqlite").close()
    file = folder_of(tmp_path).study
    with sqlite3.connect(file) as database:
        database.execute("update alembic_version set version_num = 'v2.6.0.a'")
    with pytest.raises(InputError, match=r"made by another version of Optuna.*storage upgrade"):
        open_record(tmp_path, search__study="sqlite")


def test_a_lost_study_is_not_made_anew_over_its_trials(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__study="sqlite")
    folder = folder_of(tmp_path)
    record.next_trial()
    record.close()
    folder.study.unlink()
    open_record(
        tmp_path, search__study="sqlite"
    ).close()  # cut off before anything was trained: nothing is lost
    folder.trial(0).mkdir(parents=True)
    folder.study.unlink()
    with pytest.raises(InputError, match=r"the study 'small' is not there, but .*trials holds"):
        open_record(tmp_path, search__study="sqlite")
    assert not folder.study.exists()
    with pytest.raises(InputError, match=r"the study 'small' is not there, but .*trials holds"):
        open_record(tmp_path, search__study=places(tmp_path)["url"])


def test_a_study_of_another_kind_is_not_made_beside_one(tmp_path: Path) -> None:
    open_record(tmp_path, search__study="sqlite").close()
    with pytest.raises(InputError, match=r"no study is made there, for there is .*study\.db"):
        open_record(tmp_path, search__study="journal")


@pytest.mark.parametrize("tail", [b'{"op_code": 5, "work', b"\0" * 40, b'{"op\0\0}\n'])
def test_a_journal_that_ends_in_pieces_loses_those_alone(tmp_path: Path, tail: bytes) -> None:
    record = open_record(tmp_path)
    first = record.next_trial()
    assert first
    record.report(first.number, [0.5])
    record.close()
    folder = folder_of(tmp_path)
    with open(folder.study_journal, "ab") as file:
        file.write(tail)
    assert [row.score for row in read_trials(folder)] == [0.5]  # a reader does without them
    record = open_record(tmp_path)
    assert record.next_trial() == first
    record.report(first.number, [0.5, 0.6])
    record.complete(first.number)
    record.close()
    assert [(row.state, row.score) for row in read_trials(folder)] == [("completed", 0.6)]


def test_what_is_no_journal_is_left_as_it_is(tmp_path: Path) -> None:
    open_record(tmp_path).close()
    file = folder_of(tmp_path).study_journal
    file.write_bytes(b"notes of mine\nand more\n")
    with pytest.raises(InputError, match=r"study\.journal cannot be read: "):
        open_record(tmp_path)
    assert file.read_bytes() == b"notes of mine\nand more\n"


def test_a_journal_damaged_in_its_middle_is_said_to_be(tmp_path: Path) -> None:
    open_record(tmp_path).close()
    folder = folder_of(tmp_path)
    content = folder.study_journal.read_bytes()
    folder.study_journal.write_bytes(content[:20] + content[40:])
    with pytest.raises(InputError, match=r"study\.journal cannot be read: "):
        open_record(tmp_path)
    with pytest.raises(InputError, match=r"study\.journal cannot be read: "):
        read_trials(folder)


def test_other_weights_are_another_search(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode())
    weights = {"dann_cnn": str(tmp_path / "one")}
    open_record(tmp_path, weights=weights).close()
    with pytest.raises(InputError, match=r"weights.dann_cnn was \{'sha256': '"):
        open_record(tmp_path, weights={"dann_cnn": str(tmp_path / "two")})
    (tmp_path / "one").rename(tmp_path / "moved")
    open_record(tmp_path, weights={"dann_cnn": str(tmp_path / "moved")}).close()


def space_with(**changes: dict[str, Any]) -> dict[str, Any]:
    return {**SPACE, **changes}


@pytest.mark.parametrize(
    ("space", "expected", "wider"),
    [
        (
            space_with(learning_rate={"loguniform": [0.001, 0.1]}),
            "space.learning_rate was {'loguniform': [0.01, 0.1]}, "
            "is {'loguniform': [0.001, 0.1]}; ranges that only grew are accepted",
            True,
        ),
        (space_with(lambda_max={"uniform": [0.0, 1.0], "step": 0.2}), "space.lambda_max", True),
        (space_with(learning_rate={"loguniform": [0.02, 0.2]}), "space.learning_rate", False),
        (space_with(lambda_max={"uniform": [0.1, 0.9], "step": 0.2}), "space.lambda_max", False),
        (space_with(optimizer={"choice": ["sgd"]}), "space.optimizer was", False),
        (space_with(momentum={"uniform": [0, 0.9]}), "space.momentum was absent, is", False),
        ({"learning_rate": SPACE["learning_rate"]}, "space.lambda_max was", False),
    ],
)
def test_a_changed_space_is_refused_with_the_difference_unless_its_ranges_only_grew(
    tmp_path: Path, space: dict[str, Any], expected: str, wider: bool
) -> None:
    record = open_record(tmp_path, space=SPACE)
    running = record.next_trial()
    record.close()
    with pytest.raises(InputError) as caught:
        open_record(tmp_path, space=space)
    assert "not the search that was begun" in str(caught.value)
    assert expected in str(caught.value)
    if not wider:
        with pytest.raises(InputError, match="undo that, or launch it under another name"):
            open_record(tmp_path, space=space, allow_wider=True)
        return
    grown = open_record(tmp_path, space=space, allow_wider=True)
    assert grown.next_trial() == running
    for _ in range(3):
        assert grown.next_trial()
    grown.close()
    open_record(tmp_path, space=space).close()  # what was accepted is what it is now


def test_a_changed_recipe_or_objective_is_refused(tmp_path: Path) -> None:
    open_record(tmp_path).close()
    with pytest.raises(InputError, match=r"training.momentum was 0.9, is 0.5"):
        open_record(tmp_path, training__momentum=0.5)
    with pytest.raises(InputError, match=r"search.objective was f1_macro, is snd"):
        open_record(tmp_path, search__objective="snd")
    open_record(tmp_path, search__budget={"hours": 3}, search__scheduler="asha").close()
