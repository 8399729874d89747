"""What is laid out before a search, and by whom."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dann_search.cli import main
from dann_search.config.load import load_experiment
from dann_search.errors import InputError, RunError
from dann_search.models.registry import stage_counts
from dann_search.results.status import status
from dann_search.search import checks, executor, launch
from dann_search.search.launch import prepare
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from dann_search.tracking.observer import Observer
from tests.experiments import space_file


def test_of_two_launches_of_one_name_one_is_refused_while_the_other_packs(tmp_path: Path) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    packing, refused = threading.Event(), threading.Event()
    first: list[ExperimentFolder] = []

    def wait(done: int, of: int) -> None:
        packing.set()
        assert refused.wait(60)

    thread = threading.Thread(target=lambda: first.append(prepare(experiment, space, wait)))
    thread.start()
    assert packing.wait(60)
    try:
        with pytest.raises(InputError, match="already running on this experiment"):
            prepare(experiment, space)
    finally:
        refused.set()
        thread.join()
    with pytest.raises(InputError, match="exists already"):
        prepare(experiment, space)
    StudyRecord(experiment, space, first[0]).close()


@pytest.mark.parametrize(
    ("gpus", "resources", "expected"),
    [
        (0, {"gpus_per_worker": 1}, "needs 1 GPUs, this machine has 0"),
        (1, {"gpus_per_worker": 1, "workers_per_trial": 2}, "needs 2 GPUs, this machine has 1"),
    ],
)
def test_gpus_that_are_not_there_are_missed_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    resources: dict[str, Any],
    expected: str,
) -> None:
    monkeypatch.setattr(checks, "local_gpu_count", lambda: gpus)
    monkeypatch.setattr(checks, "cpu_count", lambda: 8)
    path = space_file(tmp_path, resources=resources)
    experiment, space = load_experiment(path, stage_counts())
    with pytest.raises(InputError, match=f"resources.gpus_per_worker: a trial .*{expected}"):
        prepare(experiment, space)
    assert not Path(experiment.place).exists()


@pytest.mark.parametrize(
    ("key", "changes", "expected"),
    [
        ("storage", {}, "cannot be looked into: EndpointConnectionError"),
        (
            "storage",
            {"storage": "nosuch://bucket/runs"},
            "not a place that can be opened: .*nosuch",
        ),
        ("search.warm_start", {"search__warm_start": "other"}, "cannot be looked into"),
    ],
)
def test_storage_that_does_not_answer_is_said_with_its_line_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    changes: dict[str, Any],
    expected: str,
) -> None:
    pytest.importorskip("s3fs")
    with socket.socket() as probe:  # bound, but nobody listens
        probe.bind(("127.0.0.1", 0))
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{probe.getsockname()[1]}",
            "AWS_MAX_ATTEMPTS": "1",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(executor, "ray_session", None)
        path = space_file(tmp_path, **{"storage": "s3://bucket/runs", **changes})
        line = 1 + next(
            number
            for number, text in enumerate(path.read_text().splitlines())
            if text.strip().startswith(f"{key.split('.')[-1]}:")
        )
        assert main(["launch", str(path)]) == 2
    message = capsys.readouterr().err
    assert f"{path}:{line}: {key}: " in message
    assert re.search(expected, message.replace("\n", " "))
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("broken", "total"),
    [("Ray cannot start", 4), ("no node fits", 4), ("a search that began", 6)],
)
def test_trials_are_added_once_the_search_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, total: int
) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    folder = prepare(experiment, space)

    @contextlib.contextmanager
    def session(*_: Any, **__: Any) -> Iterator[None]:
        if broken == "Ray cannot start":
            raise RuntimeError(broken)
        yield

    @contextlib.contextmanager
    def fleet(*_: Any, **__: Any) -> Iterator[Any]:
        error = broken if broken == "no node fits" else None
        yield SimpleNamespace(resources=experiment.resources, gpus_per_worker=0.0, error=error)

    def run_tune(*_: Any, **__: Any) -> str:
        raise RuntimeError(broken)

    monkeypatch.setattr(executor, "ray_session", session)
    monkeypatch.setattr("dann_search.search.fleet.running_fleet", fleet)
    monkeypatch.setattr("dann_search.search.tune_run.run_tune", run_tune)
    with DriverLock(folder) as lock, pytest.raises(RunError, match=broken):
        launch.search(experiment, space, folder, lambda _, __: Observer(), lock, add_trials=2)
    assert status(folder).total == total
