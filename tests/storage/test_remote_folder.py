"""Folders behind URLs, on fsspec's file system in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from dann_search.errors import InputError, RunError, StorageError
from dann_search.search.trial_folder import TrialFolder
from dann_search.storage.driver_lock import DriverLock, driver_is_alive, request_stop
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import RemoteFolder

URL = "memory://runs/small"


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteFolder]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    yield RemoteFolder.of(URL)
    fsspec.filesystem("memory").store.clear()


def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteFolder:
    """The same folder as another machine has it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    return RemoteFolder.of(URL)


def test_what_one_machine_pushes_another_pulls(
    remote: RemoteFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote.local / "best").mkdir(parents=True)
    (remote.local / "best" / "model.json").write_text("{}")
    remote.push(["best/model.json"])
    other = elsewhere(tmp_path, monkeypatch)
    other.pull(["best/model.json", "study.db"])
    assert (other.local / "best" / "model.json").read_text() == "{}"
    assert not (other.local / "study.db").exists()
    assert (other.files(), other.files("best"), other.folders()) == (
        ["best/model.json"],
        ["best/model.json"],
        ["best"],
    )


def test_a_refresh_takes_what_others_changed_and_leaves_what_was_changed_here(
    remote: RemoteFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.local.mkdir(parents=True)
    (remote.local / "study.db").write_text("one trial")
    remote.push(["study.db"])
    (remote.local / "study.db").write_text("two trials, the second not pushed yet")
    assert remote.refresh(["study.db"]) == []
    assert "two trials" in (remote.local / "study.db").read_text()

    other = elsewhere(tmp_path, monkeypatch)
    assert other.refresh(["study.db"]) == ["study.db"]
    (other.local / "study.db").write_text("three trials by another machine")
    other.push(["study.db"])
    assert remote.refresh(["study.db"]) == ["study.db"]
    assert "three trials" in (remote.local / "study.db").read_text()


def test_a_published_folder_is_mirrored_with_what_was_taken_away(remote: RemoteFolder) -> None:
    folder = ExperimentFolder.at(URL)
    folder.best.mkdir(parents=True)
    for name in ("model.json", "evaluation.json"):
        (folder.best / name).write_text(name)
    folder.publish_below(folder.best)
    (folder.best / "evaluation.json").unlink()
    folder.publish_below(folder.best)
    assert remote.files("best") == ["best/model.json"]
    folder.remove(folder.best / "model.json")
    folder.fetch_below(folder.best)
    assert remote.files() == [] and not list(folder.best.iterdir())


def test_a_models_record_goes_before_and_comes_after_all_its_other_files(
    remote: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ExperimentFolder.at(URL)
    folder.best.mkdir(parents=True)
    for name in ("model.json", "evaluation.json", "model.safetensors", "README.md"):
        (folder.best / name).write_text(f"first {name}")
    folder.publish_below(folder.best)
    system, done = type(fsspec.filesystem("memory")), list[tuple[str, str]]()

    def recorded(operation: str) -> None:
        real = getattr(system, operation)

        def record(self: object, path: str, *rest: object, **more: object) -> object:
            done.append((operation, path.rsplit("/", 1)[-1]))
            return real(self, path, *rest, **more)

        monkeypatch.setattr(system, operation, record)

    recorded("pipe_file")
    recorded("rm_file")
    (folder.best / "evaluation.json").unlink()
    for name in ("model.json", "model.safetensors", "README.md"):
        (folder.best / name).write_text(f"second {name}")
    folder.publish_below(folder.best)
    assert done[:2] == [("rm_file", "model.json"), ("rm_file", "evaluation.json")]
    assert sorted(done[2:4]) == [("pipe_file", "README.md"), ("pipe_file", "model.safetensors")]
    assert done[4:] == [("pipe_file", "model.json")]
    assert remote.read("best/model.json") == b"second model.json"


def test_a_model_published_while_it_is_fetched_is_fetched_whole(
    remote: RemoteFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(folder: ExperimentFolder, model: str) -> None:
        folder.best.mkdir(parents=True, exist_ok=True)
        for name in ("model.json", "model.safetensors"):
            (folder.best / name).write_text(model)
        folder.publish_below(folder.best)

    here = ExperimentFolder.at(URL)
    publish(here, "first")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "reader"))
    reader, read, second = ExperimentFolder.at(URL), RemoteFolder.read, iter([True])

    def interrupted(self: RemoteFolder, name: str) -> bytes | None:
        content = read(self, name)
        if name.endswith("safetensors") and next(second, False):
            publish(here, "second")
        return content

    monkeypatch.setattr(RemoteFolder, "read", interrupted)
    reader.fetch_below(reader.best)
    assert {file.name: file.read_text() for file in reader.best.iterdir()} == {
        "model.json": "second",
        "model.safetensors": "second",
    }


def test_a_trial_folder_brings_only_what_changed_and_forgets_its_copy(
    remote: RemoteFolder,
) -> None:
    place = f"{URL}/trials/3"
    slot = TrialFolder(place)
    local = slot.open(["last.safetensors", "best.safetensors"])
    assert list(local.iterdir()) == [local / ".versions.json"]
    (local / "last.safetensors").write_bytes(b"epoch 1")
    (local / "best.safetensors").write_bytes(b"epoch 1")
    slot.keep("best.safetensors")
    slot.keep("last.safetensors")
    fsspec.filesystem("memory").rm_file("/runs/small/trials/3/best.safetensors")
    (local / "last.safetensors").write_bytes(b"epoch 2")
    slot.keep("best.safetensors")
    slot.keep("last.safetensors")
    assert remote.files("trials") == ["trials/3/last.safetensors"]  # best had not changed
    slot.leave()
    assert not local.exists()

    # Another worker's copy is its own; what is not there any more is not there in it either.
    other = TrialFolder(place, reader=1)
    assert other.local != local
    assert (other.open(["last.safetensors"]) / "last.safetensors").read_bytes() == b"epoch 2"
    remote.remove("trials/3/last.safetensors")
    assert not (other.open(["last.safetensors"]) / "last.safetensors").exists()


def test_a_place_that_nothing_opens_is_said_so() -> None:
    with pytest.raises(InputError, match="nosuch://x: not a place that can be opened"):
        RemoteFolder.of("nosuch://x").exists("a")


def test_storage_that_fails_is_a_failure_at_run_time(
    remote: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError("access denied")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", fail)
    with pytest.raises(RunError, match=f"{URL}: cannot be written: PermissionError: access denied"):
        remote.write("x", b"")


def test_a_driver_behind_a_url_is_seen_and_stopped_from_elsewhere(
    remote: RemoteFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dann_search.storage.driver_lock.BEAT_S", 0.05)
    monkeypatch.setattr("dann_search.storage.driver_lock.LOOK_S", 3.0)
    monkeypatch.setattr("socket.gethostname", lambda: "head")
    here = ExperimentFolder.at(URL)
    with DriverLock(here) as lock:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
        monkeypatch.setattr("socket.gethostname", lambda: "laptop")
        other = ExperimentFolder.at(URL)
        assert not lock.stop_requested.is_set()
        assert driver_is_alive(other)
        with (
            pytest.raises(InputError, match="already running on this experiment"),
            DriverLock(other),
        ):
            pass
        request_stop(other)
        assert lock.stop_requested.wait(5)
    assert not driver_is_alive(other)
    assert remote.files() == ["driver.lock"]


class Buckets(MemoryFileSystem):
    """Memory that behaves as an object store: files go into buckets that exist."""

    protocol = "s3"
    store: ClassVar[dict[str, Any]] = {}
    made: ClassVar[list[str]] = []

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        if "/bucket/" not in path:
            raise FileNotFoundError("the specified bucket does not exist")
        super().pipe_file(path, value, mode, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.made.append(path)


def test_a_mistyped_bucket_is_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(_registry, "s3", Buckets)
    RemoteFolder.of("s3://bucket/runs/small").write("job.json", b"{}")
    with pytest.raises(StorageError, match="bucket does not exist"):
        RemoteFolder.of("s3://buket/runs/small").write("job.json", b"{}")
    assert Buckets.made == []


def test_folders_of_a_file_system_that_has_some_are_made(tmp_path: Path) -> None:
    RemoteFolder(f"file://{tmp_path}/a/b", tmp_path / "here").write("c/d.json", b"{}")
    assert (tmp_path / "a" / "b" / "c" / "d.json").read_bytes() == b"{}"
