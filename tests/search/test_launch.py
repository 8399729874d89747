"""What is laid out before a search, and by whom."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from dann_search.cli import main
from dann_search.config.load import load_experiment
from dann_search.errors import InputError, RunError
from dann_search.models.registry import stage_counts
from dann_search.results.status import status
from dann_search.search import checks, executor, launch
from dann_search.search.executor import Work
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
        ("storage", {}, "cannot be listed: EndpointConnectionError"),
        (
            "storage",
            {"storage": "nosuch://bucket/runs"},
            "not a place that can be opened: .*nosuch",
        ),
        ("search.warm_start", {"search__warm_start": "other"}, "cannot be listed"),
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
    tmp_path: Path, broken: str, total: int
) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    folder = prepare(experiment, space)

    class Breaks:
        @contextlib.contextmanager
        def fleet(self, work: Work) -> Iterator[Any]:
            if broken == "Ray cannot start":
                raise RuntimeError(broken)
            error = broken if broken == "no node fits" else None
            yield SimpleNamespace(resources=experiment.resources, gpus_per_worker=0.0, error=error)

        def follow(self, *_: Any) -> str:
            raise RuntimeError(broken)

    with DriverLock(folder) as lock, pytest.raises(RunError, match=broken):
        launch.search(
            *(experiment, space, folder, lambda _, __: Observer(), lock),
            add_trials=2,
            executor=Breaks(),
        )
    assert status(folder).total == total


def write_faulty(folder: Path, fault: str) -> Path:
    """An experiment file that a launch refuses, some of them while images are packed."""
    from tests.data.images import write_domain

    source = write_domain(folder / "source", {"bike": 5, "mug": 5}, seed=1)
    target = write_domain(folder / "target", {"bike": 5, "mug": 5}, seed=2)
    changes: dict[str, Any] = {
        "data__source": {"folder": str(source)},
        "data__target": {"folder": str(target)},
    }
    if fault == "unreadable image":
        (target / "mug" / "torn.jpg").write_bytes(b"torn")
    elif fault == "many unreadable images":
        for number in range(30):
            (target / "mug" / f"torn-{number}.jpg").write_bytes(b"torn")
    elif fault == "class too small":
        for file in sorted((target / "mug").iterdir())[1:]:
            file.unlink()
    elif fault == "unequal classes":
        (target / "mug").rename(target / "cup")
    elif fault == "missing folder":
        changes["data__target"] = {"folder": str(folder / "nowhere")}
    elif fault == "no room":
        changes["data__store_limit_gib"] = 1e-9
    elif fault == "side too small":
        changes["data__image_size"] = 8
    elif fault == "unknown key":
        changes["data__sauce"] = 1
    return space_file(folder, **changes)


@pytest.mark.parametrize("storage", ["runs", "memory"])
@pytest.mark.parametrize(
    "fault",
    [
        "unreadable image",
        "many unreadable images",
        "class too small",
        "unequal classes",
        "missing folder",
        "no room",
        "side too small",
        "unknown key",
    ],
)
def test_a_refused_launch_leaves_nothing_behind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
    storage: str,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_faulty(tmp_path, fault)
    where = f"memory://{tmp_path.name}" if storage == "memory" else str(tmp_path / "a" / "runs")
    for _ in range(2):  # the second is told the same, not that the name is taken
        assert main(["launch", str(path), "--storage", where]) == 2
        message = capsys.readouterr().err
        assert "Traceback" not in message
        assert "already" not in message and "exists" not in message
    kept = [file for file in (tmp_path / "a").rglob("*") if file.is_file()]
    if storage == "memory":
        assert not fsspec.filesystem("memory").find(f"/{tmp_path.name}")
        kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
        kept = [file for file in kept if file.name != ".versions.json"]
    if fault == "many unreadable images":  # the message names the list, which is longer than it
        assert [file.name for file in kept] == ["unreadable.txt"]
        assert str(kept[0]) in message.replace("\n", "")
    else:
        assert not kept and not (tmp_path / "a").exists()


def test_a_launch_that_is_interrupted_while_it_packs_leaves_nothing_behind(tmp_path: Path) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="launch it again"):
        prepare(experiment, space, interrupt)
    assert not Path(experiment.storage).exists()
    prepare(experiment, space)


def test_what_lay_in_the_folder_before_a_refused_launch_stays(tmp_path: Path) -> None:
    path = write_faulty(tmp_path, "unequal classes")
    experiment, space = load_experiment(path, stage_counts())
    own = Path(experiment.place) / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(InputError):
        prepare(experiment, space)
    assert [file.name for file in own.parent.iterdir()] == ["notes.txt"]
