"""Storage, disk and database that fail for a while, or for good: no trial's fault, nothing lost.

Whole searches in this process. What they must come to is known: the histories of the search that
met no fault.
"""

import errno
import json
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
import pytest
import sqlalchemy
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dann_search.config.load import load_experiment
from dann_search.errors import InputError, RunError
from dann_search.models.registry import stage_counts
from dann_search.results.status import status
from dann_search.search.launch import prepare, search
from dann_search.storage import driver_lock, outages
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from dann_search.tracking.observer import Observer
from tests.experiments import Reports, run_search, study_trials
from tests.faults.faulty import (
    EPOCHS,
    RATES,
    SEEDS,
    DriverDied,
    FaultyExecutor,
    FaultyWorker,
    histories,
    space_of,
    undisturbed,
)
from tests.in_process import InProcessExecutor

__all__ = ["undisturbed"]  # a fixture

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_S", 0.001)
    monkeypatch.setattr(outages, "LONGEST_S", 0.02)


class Failing:
    """Fails at calls drawn from a seed, while the search trains; ``for_good`` from the first on."""

    def __init__(self, seed: int, share: float = 0.2, for_good: bool = False):
        self.random, self.share, self.for_good = random.Random(seed), share, for_good
        self.armed, self.failed = False, 0
        self._turn = threading.Lock()

    def arm(self, worker: FaultyWorker, number: int, moment: str) -> None:
        """The in-process executor's fault: from the first step on."""
        self.armed = self.armed or moment == "step"

    def disarm(self) -> None:
        """What is read after the search is no part of it."""
        self.armed = False

    def strikes(self) -> bool:
        with self._turn:
            lasting = self.for_good and self.failed
            if not self.armed or not (lasting or self.random.random() < self.share):
                return False
            self.failed += 1
            return True


@contextmanager
def disk(failing: Failing, error: OSError = FULL) -> Iterator[None]:
    """Have files that are written whole meet a full disk."""
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if failing.strikes():
            raise error
        fsync(descriptor)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", full)
        yield


@contextmanager
def database(failing: Failing) -> Iterator[None]:
    """Have the study's database lose its connection at a commit."""

    def lost(connection: sqlalchemy.Connection) -> None:
        if failing.strikes():
            cause = ConnectionError("server closed the connection unexpectedly")
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, cause)

    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", lost)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "commit", lost)


@contextmanager
def bucket(failing: Failing) -> Iterator[None]:
    """Have storage behind a URL not answer."""
    memory = type(fsspec.filesystem("memory"))
    pipe_file = memory.pipe_file

    def away(*arguments: Any, **options: Any) -> None:
        if failing.strikes():
            raise TimeoutError("no route to the bucket")
        pipe_file(*arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory, "pipe_file", away)
        yield


FAULTS: dict[str, Callable[[Failing], Any]] = {"disk": disk, "database": database, "bucket": bucket}


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").store.clear()


def where(kind: str, storage: str, tmp_path: Path) -> str:
    return storage if kind == "bucket" else str(tmp_path / "runs")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", FAULTS)
def test_storage_that_fails_for_moments_changes_no_number(
    kind: str, seed: int, tmp_path: Path, tiny_images: Path, undisturbed: Any, storage: str
) -> None:
    path = space_of(tmp_path, tiny_images, storage=where(kind, storage, tmp_path))
    share = 0.3 if kind == "database" else 0.2  # a report is a single commit
    failing, reports = Failing(seed, share), Reports()
    reports.close = failing.disarm  # type: ignore[method-assign]
    with FAULTS[kind](failing):
        outcome, _ = run_search(path, reports, FaultyExecutor(fault=failing.arm))
    assert failing.failed
    assert histories(outcome.folder) == undisturbed
    assert (outcome.counts.completed, outcome.stopped_by) == (len(RATES), "trials")
    assert set(reports.steps.values()) == {1}
    assert not list(outcome.folder.root.rglob(".*.safetensors.*"))  # no half a file


@pytest.mark.parametrize("kind", FAULTS)
def test_storage_that_stays_away_ends_the_search_and_resume_goes_on(
    kind: str, tmp_path: Path, tiny_images: Path, undisturbed: Any, storage: str
) -> None:
    path = space_of(
        tmp_path,
        tiny_images,
        storage=where(kind, storage, tmp_path),
        resources__storage_timeout_s=0.2,
    )
    failing = Failing(0, share=0.3, for_good=True)
    with FAULTS[kind](failing), pytest.raises(RunError) as ended:
        run_search(path, executor=FaultyExecutor(fault=failing.arm))
    folder = ExperimentFolder.at(load_experiment(path, stage_counts())[0].place)
    assert {"disk": "No space left", "database": "server closed", "bucket": "no route"}[kind] in (
        message := str(ended.value)
    )
    assert "invalid data" not in message
    assert f"continue with: dann-search resume {folder}" in message
    assert TrialState.FAIL not in {trial.state for trial in study_trials(folder)}
    outcome, _ = run_search(path, executor=InProcessExecutor())
    assert outcome.counts.failed == 0
    assert histories(folder) == undisturbed


class Notices(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, line: str) -> None:
        self.lines.append(line)


def test_a_search_that_waits_says_so_to_its_user_and_to_status(
    tmp_path: Path, tiny_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, notices = space_of(tmp_path, tiny_images), Notices()
    folder = ExperimentFolder(tmp_path / "runs" / "tiny")
    failing, seen = Failing(0, share=1.0), list[str | None]()
    rest = outages.Outages._rest

    def looked(self: outages.Outages, wait_s: float) -> bool:
        failing.share = 0.0  # one failure
        for _ in range(200):
            seen.append(status(folder).trouble)
            if seen[-1]:
                break
            threading.Event().wait(0.02)
        return rest(self, wait_s)

    monkeypatch.setattr(outages.Outages, "_rest", looked)
    monkeypatch.setattr(driver_lock, "BEAT_S", 0.05)
    with disk(failing):
        run_search(path, notices, FaultyExecutor(trials_at_once=1, fault=failing.arm))
    assert seen[-1] is not None
    assert seen[-1].endswith("No space left on device: file")
    assert seen[-1].startswith("waiting for storage, at most 60 min more")
    assert notices.lines == [seen[-1], "storage answers again: the search continues"]
    assert status(folder).trouble is None


def fail(record: StudyRecord, error: str) -> None:
    """Have the next trial fail, as an older version recorded it."""
    trial = record.next_trial()
    assert trial
    record.fail(trial.number, error)


def test_trials_that_storage_let_fail_are_taken_up_again_and_the_others_when_asked(
    tmp_path: Path, tiny_images: Path, undisturbed: Any
) -> None:
    path = space_of(tmp_path, tiny_images)
    experiment, space = load_experiment(path, stage_counts())
    folder = prepare(experiment, space)
    record = StudyRecord(experiment, space, folder)
    fail(
        record,
        "its worker died 3 times while training it; the last time: [Errno 28] No space left "
        "on device",
    )
    fail(record, "the loss became nan in epoch 2")
    record.close()
    folder.trial(0).mkdir(parents=True)
    (folder.trial(0) / "error.txt").write_text("No space left on device")
    outcome, trials = run_search(path, executor=InProcessExecutor())
    assert (outcome.counts.completed, outcome.counts.failed) == (2, 1)
    assert [trial.state for trial in trials[:2]] == [TrialState.FAIL] * 2
    assert not (folder.trial(2) / "error.txt").exists()  # of a trial that completed
    now = status(folder)
    assert (now.state, now.completed, now.failed, now.total) == ("done", 2, 1, 3)
    with DriverLock(folder) as lock:
        observer = Observer()
        outcome = search(
            experiment,
            space,
            folder,
            lambda _, __: observer,
            lock,
            retry_failed=True,
            executor=InProcessExecutor(),
        )
    assert (outcome.counts.completed, outcome.counts.failed) == (3, 0)
    assert histories(folder) == undisturbed
    assert status(folder).finished == 3


def test_a_failed_trial_that_is_taken_up_goes_on_from_its_checkpoint(
    tmp_path: Path, tiny_images: Path, undisturbed: Any
) -> None:
    path = space_of(tmp_path, tiny_images)

    def fault(worker: FaultyWorker, number: int, moment: str) -> None:
        if moment == "saved":
            raise ValueError(": cannot be written: by an older version")

    folder = run_search(path, executor=FaultyExecutor(fault=fault))[0].folder
    assert {trial.state for trial in study_trials(folder)} == {TrialState.FAIL}
    again = list[int]()

    def count(worker: FaultyWorker, number: int, moment: str) -> None:
        if moment == "saved":
            again.append(number)

    run_search(path, executor=FaultyExecutor(fault=count))
    assert histories(folder) == undisturbed
    assert len(again) == len(RATES) * EPOCHS  # the saved epoch is told, not trained again


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_an_end_on_a_disk_that_fails_is_the_searchs_own_and_a_resume_there_is_refused(
    code: int, tmp_path: Path, tiny_images: Path
) -> None:
    path = space_of(tmp_path, tiny_images, resources__storage_timeout_s=0.05)
    folder = ExperimentFolder(tmp_path / "runs" / "tiny")
    broken = OSError(code, os.strerror(code), str(folder.stop))

    def refused(*_: Any, **__: Any) -> None:
        raise broken

    with pytest.MonkeyPatch.context() as patched:

        class Breaks(Observer):
            def epochs_done(self, *_: Any) -> None:
                patched.setattr(Path, "unlink", refused)
                patched.setattr(Path, "write_bytes", refused)
                raise broken

        with pytest.raises(RunError) as ended:
            run_search(path, Breaks(), InProcessExecutor())
        message = str(ended.value)
        assert os.strerror(code) in message and "what was trained is kept" in message
        with pytest.raises(InputError, match=r"cannot be written: .*make room") as refusal:
            DriverLock(folder).__enter__()
        assert str(folder) in str(refusal.value)


def test_a_kill_between_the_last_epoch_and_the_end_of_a_trial_leaves_its_file_and_its_events(
    tmp_path: Path, tiny_images: Path, undisturbed: Any
) -> None:
    class Dies(Observer):
        def epochs_done(self, number: int, history: Any, known: int) -> None:
            if len(history) == EPOCHS:
                raise DriverDied

    path = space_of(tmp_path, tiny_images)
    with pytest.raises(DriverDied):
        run_search(path, Dies(), InProcessExecutor(trials_at_once=1))
    folder = run_search(path, executor=InProcessExecutor())[0].folder
    assert histories(folder) == undisturbed
    for number in range(len(RATES)):
        (record,) = folder.trial(number).glob("trial.json")
        assert len(json.loads(record.read_text())["history"]) == EPOCHS
        events = EventAccumulator(str(folder.tensorboard / f"trial-{number:04d}")).Reload()
        assert len(events.Scalars("val/f1_macro")) == EPOCHS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for some checkpoints."""
    disk = tmp_path / "runs"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_file_system_that_fills_up_holds_the_search_until_it_has_room(
    tmp_path: Path, tiny_images: Path, undisturbed: Any, small_disk: Path
) -> None:
    path, notices = space_of(tmp_path, tiny_images, resources__storage_timeout_s=0.3), Notices()
    experiment, space = load_experiment(path, stage_counts())
    folder = prepare(experiment, space)
    filler = small_disk / "filler"

    def fill(worker: FaultyWorker, number: int, moment: str) -> None:
        if moment == "step" and number == 1 and not filler.exists():
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"1" * 4096)

    with pytest.raises(RunError, match=r"No space left on device(.|\n)*continue with: dann-search"):
        run_search(path, notices, FaultyExecutor(trials_at_once=1, fault=fill))
    assert any(line.startswith("waiting for storage") for line in notices.lines)
    with pytest.raises(InputError, match=r"No space left on device|MB are free.*make room"):
        run_search(path, executor=InProcessExecutor())
    filler.unlink()
    outcome, _ = run_search(path, executor=InProcessExecutor())
    assert (outcome.counts.completed, outcome.counts.failed) == (len(RATES), 0)
    assert histories(folder) == undisturbed
