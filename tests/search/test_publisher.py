"""Study and events of a search behind a URL, on fsspec's file system in memory."""

import errno
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import optuna
import pytest

from dann_search.errors import RunError
from dann_search.search.publisher import Publisher
from dann_search.storage.driver_lock import DriverLock, TakenOver
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import RemoteFolder

URL = "memory://runs/published"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExperimentFolder]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    made = ExperimentFolder.at(URL)
    made.tensorboard.mkdir(parents=True)
    yield made
    fsspec.filesystem("memory").store.clear()


def ours() -> None:
    """The lock's word while no other driver has taken over."""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def published_trials(tmp_path: Path) -> int:
    """Of the study as another machine reads it."""
    content = RemoteFolder.of(URL).read("study.db")
    assert content
    (tmp_path / "other.db").write_bytes(content)
    url = f"sqlite:///{tmp_path / 'other.db'}"
    return len(optuna.load_study(study_name=None, storage=url).trials)


def test_a_trial_that_ends_is_on_storage_while_the_study_is_in_use(
    folder: ExperimentFolder, tmp_path: Path
) -> None:
    study = optuna.create_study(storage=f"sqlite:///{folder.study}", study_name="x")
    publisher = Publisher(folder, check=ours, tell=lambda line: None)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with sqlite3.connect(folder.study) as writer:
        writer.execute("begin immediate")  # a write under way
        (folder.tensorboard / "events").write_bytes(b"1")
        publisher.trial_ended(0, "completed", None)
        until(lambda: published_trials(tmp_path) == 1)
        until(lambda: RemoteFolder.of(URL).exists("tensorboard/events"))
        writer.rollback()
    study.add_trial(optuna.trial.create_trial(value=2.0))
    publisher.close()
    assert published_trials(tmp_path) == 2


def test_events_of_an_earlier_driver_go_once_its_trial_is_written_anew(
    folder: ExperimentFolder,
) -> None:
    there = RemoteFolder.of(URL)
    for name in ("trial-0001/events.former", "trial-0002/events.former", "experiment/events"):
        there.write(f"tensorboard/{name}", b"1")
    publisher = Publisher(folder, ours, lambda line: None)
    (folder.tensorboard / "trial-0001").mkdir()
    (folder.tensorboard / "trial-0001" / "events.ours").write_bytes(b"2")
    publisher.close()
    left = ["experiment/events", "trial-0001/events.ours", "trial-0002/events.former"]
    assert there.files("tensorboard") == [f"tensorboard/{name}" for name in left]


def test_the_name_of_the_job_is_left_to_whoever_submits(folder: ExperimentFolder) -> None:
    folder.job.write_bytes(b"an earlier job, of a copy")
    RemoteFolder.of(URL).write(folder.job.name, b"this job")
    Publisher(folder, check=ours, tell=lambda line: None).close()
    assert RemoteFolder.of(URL).read(folder.job.name) == b"this job"


def test_storage_that_does_not_answer_is_told_once_and_tried_again(
    folder: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=f"sqlite:///{folder.study}", study_name="x")
    told: list[str] = []
    publisher = Publisher(folder, ours, told.append)
    with monkeypatch.context() as broken:

        def fail(*_: object, **__: object) -> None:
            raise TimeoutError("no route")

        broken.setattr(type(fsspec.filesystem("memory")), "pipe_file", fail)
        study.add_trial(optuna.trial.create_trial(value=1.0))
        publisher.trial_ended(0, "completed", None)
        until(lambda: bool(told))
        publisher.trial_ended(0, "completed", None)
        time.sleep(0.1)
        with pytest.raises(RunError, match="no route"):
            Publisher(folder, ours, told.append)  # a search does not begin so
    until(lambda: published_trials(tmp_path) == 1)
    publisher.close()
    assert len(told) == 1 and "storage does not answer" in told[0] and "trying again" in told[0]


def test_nothing_is_published_over_what_another_driver_wrote(
    folder: ExperimentFolder, tmp_path: Path
) -> None:
    study = optuna.create_study(storage=f"sqlite:///{folder.study}", study_name="x")
    told: list[str] = []
    with DriverLock(folder) as lock:
        publisher = Publisher(folder, lock.check, told.append)
        assert folder.remote
        folder.remote.write(folder.lock.name, b'{"id": "other", "pid": 1, "host": "head"}')
        folder.remote.write(folder.study.name, b"newer")
        study.add_trial(optuna.trial.create_trial(value=1.0))
        publisher.trial_ended(0, "completed", None)
        with pytest.raises(TakenOver, match="process 1 on head"):
            publisher.close()
    assert folder.remote.read(folder.study.name) == b"newer"
    assert told == []  # it is no storage that does not answer


def test_a_local_disk_that_is_full_for_a_while_does_not_end_the_uploads(
    folder: ExperimentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=f"sqlite:///{folder.study}", study_name="x")
    told: list[str] = []
    publisher = Publisher(folder, ours, told.append)
    with monkeypatch.context() as broken:

        def full(*_: object) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

        broken.setattr("dann_search.search.publisher.consistent_copy", full)
        study.add_trial(optuna.trial.create_trial(value=1.0))
        publisher.trial_ended(0, "completed", None)
        until(lambda: bool(told))
    until(lambda: published_trials(tmp_path) == 1)
    publisher.close()
    assert told == ["storage does not answer (No space left on device); trying again"]
