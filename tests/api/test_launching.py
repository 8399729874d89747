"""Launch and resume from Python, where no training is left to do."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import dann_search
from dann_search.api import launching
from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.inference.best import write_best
from dann_search.models.registry import stage_counts
from dann_search.results.reader import known_trials
from dann_search.search.checks import remarks
from dann_search.search.launch import Outcome, prepare
from dann_search.storage.driver_lock import DriverLock, TakenOver, driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from tests.experiments import space_file, tiny_space_file
from tests.finished_experiment import search_file

WIDER = "space.learning_rate={loguniform: [0.001, 0.1]}"


@pytest.fixture(autouse=True)
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before the search."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was begun")

    monkeypatch.setattr("dann_search.search.executor.ray_session", refuse)


def test_a_wider_space_is_resumed_only_where_it_is_allowed(experiment: ExperimentFolder) -> None:
    with pytest.raises(InputError, match="accepted with --allow-wider-space"):
        dann_search.resume(experiment.root, sets=[WIDER])
    result = dann_search.resume(experiment.root, sets=[WIDER], allow_wider_space=True)
    assert sum(result.trials.model_dump().values()) == 4
    assert list((experiment.tensorboard / "best").glob("events.*"))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("search.study=journal", "search.study: cannot change: that is where the trials are"),
        ("search.trials=10", "search.trials: cannot change: more are searched with --add-trials"),
        ("search={trials: 10}", "search.trials: cannot change"),
        ("data.image_size=32", "data: cannot change"),
        ("storage=elsewhere", "storage: cannot change: the experiment lies where it lies"),
        (
            "search.start_points=[{learning_rate: 9.0}]",
            "search.start_points.0.learning_rate: must be between 0.01 and 0.1, got 9.0",
        ),
        ("weights.dann_cnn=nofile", "weights.dann_cnn: no such file: .*nofile"),
        ("resources.cpus_per_worker=1000", "resources.cpus_per_worker: a trial of 1 workers"),
        ("resources.gpus_per_worker=64", "resources.gpus_per_worker: must be at most 1, .* got 64"),
        ("extends=x", "only a file can extend another"),
    ],
)
def test_what_a_resume_cannot_do_is_refused_as_by_a_launch(
    searched: ExperimentFolder, item: str, expected: str
) -> None:
    before = searched.record.read_bytes()
    with pytest.raises(InputError, match=f"--set .*{expected}"):
        dann_search.resume(searched.root, sets=[item], add_trials=1)
    assert searched.record.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ("epochs: 2", "epochs: 5", "training.epochs", "not the search that was begun: training.ep"),
        ("epochs: 2", "epochs: five", "training.epochs", "must be"),
        ("- 0.01", "- 0.001", "space.learning_rate", "accepted with --allow-wider-space"),
        ("sampler: random", "sampler: randon", "search.sampler", "did you mean 'random'"),
        ("  space:", "  spacee:", "spacee", "unknown key"),
    ],
)
def test_a_record_that_was_changed_by_hand_is_refused_with_the_line(
    experiment: ExperimentFolder, old: str, new: str, key: str, expected: str
) -> None:
    text = experiment.record.read_text()
    assert text.count(f"{old}\n") == 1
    experiment.record.write_text(text.replace(f"{old}\n", f"{new}\n"))
    named = f"{key.rsplit('.', 1)[-1]}:"
    lines = experiment.record.read_text().splitlines()
    line = 1 + next(number for number, one in enumerate(lines) if one.strip().startswith(named))
    with pytest.raises(InputError) as caught:
        dann_search.resume(experiment.root)
    assert str(caught.value).startswith(f"{experiment.record}:{line}: {key}: ")
    assert expected in str(caught.value)


def test_a_sampler_that_does_not_fit_the_space_is_refused(searched: ExperimentFolder) -> None:
    with pytest.raises(InputError, match="'grid' needs values it can count"):
        dann_search.resume(searched.root, sets=["search.sampler=grid"], add_trials=1)


def test_a_grid_that_is_exhausted_gets_no_more_trials(tmp_path: Path, tiny_images: Path) -> None:
    space = {"optimizer": {"choice": ["sgd", "adamw"]}, "lambda_max": {"choice": [0.5, 1.0]}}
    changes = {"training__epochs": 1, "space": space, "search__sampler": "grid"}
    folder = search_file(tiny_space_file(tmp_path, tiny_images, **changes))
    with pytest.raises(InputError, match="--add-trials 3: the grid is exhausted, each of its 4"):
        dann_search.resume(folder.root, add_trials=3)


def test_a_database_that_is_relative_in_an_old_record_is_not_made_elsewhere(
    experiment: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment.study.unlink()
    record = yaml.safe_load(experiment.record.read_text())
    record["experiment"]["search"]["study"] = "sqlite:///rel.db"
    experiment.record.write_text(yaml.safe_dump(record))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"rel\.db: the study 'small' is not there, but"):
        dann_search.resume(experiment.root)


def test_an_interrupt_after_one_failure_is_no_failure_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    folder = prepare(experiment, space)
    record = StudyRecord(experiment, space, folder)
    record.next_trial()
    record.next_trial()
    record.fail(0, "the loss became nan")
    outcome = Outcome(folder, record.tally.counts(), 1.0, "interrupt")
    record.close()
    monkeypatch.setattr(launching, "search", lambda *_, **__: outcome)
    result = dann_search.resume(folder.root)
    assert result.best is None and result.stopped_by == "interrupt"


def resumed_with(
    monkeypatch: pytest.MonkeyPatch, folder: ExperimentFolder, at_the_end: Callable[[], object]
) -> None:
    """A resume with nothing left to do; ``at_the_end`` happens when its model is written."""

    def watched(experiment: ExperimentFolder) -> None:
        write_best(experiment)
        at_the_end()

    monkeypatch.setattr(launching, "write_best", watched)
    monkeypatch.setattr("dann_search.evaluation.tensorboard_best.show_best", lambda _: None)
    dann_search.resume(folder.root)


def test_no_other_driver_begins_before_the_results_of_the_last_are_written(
    experiment: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[bool] = []
    resumed_with(monkeypatch, experiment, lambda: alive.append(driver_is_alive(experiment)))
    assert alive == [True] and experiment.result.exists()
    assert not driver_is_alive(experiment)
    with DriverLock(experiment), pytest.raises(InputError, match="already running"):
        dann_search.resume(experiment.root)
    assert experiment.result.exists()  # the one that was refused takes nothing away


def test_a_driver_that_another_took_over_from_writes_no_result(
    experiment: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = '{"id": "other", "pid": 1, "host": "head"}'
    with pytest.raises(TakenOver, match="process 1 on head"):
        resumed_with(monkeypatch, experiment, lambda: experiment.lock.write_text(other))
    assert not experiment.result.exists()
    assert experiment.lock.read_text() == other


def test_a_disk_that_is_full_as_the_results_are_written_is_waited_for(
    experiment: ExperimentFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")]

    def fill(*_: object) -> None:
        if full:
            raise full.pop()

    monkeypatch.setattr("dann_search.storage.outages.FIRST_S", 0.001)
    monkeypatch.setattr("dann_search.inference.model_files.write_copies", fill)
    resumed_with(monkeypatch, experiment, lambda: None)
    assert full == [] and experiment.result.exists()
    said = capsys.readouterr().err
    assert "No space left on device: model.safetensors" in said and "storage answers again" in said


def test_an_experiment_is_learned_from_that_lies_in_the_storage_of_the_new_one(
    searched: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = space_file(tmp_path, name="next", search__warm_start="small", training__epochs=1)
    storage = searched.root.parent
    experiment, _ = load_experiment(path, stage_counts(), storage=storage)
    assert len(known_trials(experiment)) == 2
    other = space_file(tmp_path, search__warm_start="smal")
    with pytest.raises(InputError) as caught:
        dann_search.launch(other, storage=storage, name="next")
    assert f"{other}:" in str(caught.value)
    assert "search.warm_start: no experiment 'smal'; did you mean 'small'?" in str(caught.value)


def test_what_may_not_be_as_one_thinks_is_said_at_the_start(
    searched: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dann_search.search.checks.local_gpu_count", lambda: 0)
    path = space_file(
        tmp_path,
        search__warm_start=str(searched.root),
        search__budget={"gpu_hours": 3},
        training__epochs=2,
        space__learning_rate={"loguniform": [0.0001, 0.1]},
    )
    experiment, space = load_experiment(path, stage_counts())
    noted = remarks(experiment, space, known_trials(experiment))
    assert noted == [
        "search.budget.gpu_hours is never reached: trials here use no GPU",
        "search.warm_start: 2 of 2 completed trials fit this space",
    ]
