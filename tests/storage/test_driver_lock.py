"""One driver an experiment, and no lock left in the way by a crash."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import fsspec
import pytest

from dann_search.errors import InputError, RunError
from dann_search.storage.driver_lock import DriverLock, TakenOver, driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import RemoteFolder

Machine = Callable[[str], ExperimentFolder]


def hold(root: Path, held: Event) -> None:
    with DriverLock(ExperimentFolder(root)):
        held.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path) -> multiprocessing.Process:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path, held), daemon=True)
    process.start()
    assert held.wait(30)
    return process  # type: ignore[return-value]


def test_a_second_driver_is_refused_and_told_which_process_runs(
    tmp_path: Path, holder: multiprocessing.Process
) -> None:
    assert driver_is_alive(ExperimentFolder(tmp_path))
    with (
        pytest.raises(InputError, match=f"already running.*process {holder.pid} on"),
        DriverLock(ExperimentFolder(tmp_path)),
    ):
        pass
    holder.kill()
    holder.join()


def test_a_lock_left_by_a_crash_is_not_in_the_way(
    tmp_path: Path, holder: multiprocessing.Process
) -> None:
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert not driver_is_alive(ExperimentFolder(tmp_path))
    with DriverLock(ExperimentFolder(tmp_path)):
        assert driver_is_alive(ExperimentFolder(tmp_path))
    assert not driver_is_alive(ExperimentFolder(tmp_path))


def test_a_lock_is_given_back_though_somebody_still_holds_the_object(tmp_path: Path) -> None:
    with DriverLock(ExperimentFolder(tmp_path)) as lock:
        assert driver_is_alive(ExperimentFolder(tmp_path))
    assert not driver_is_alive(lock.folder)


@pytest.mark.parametrize(("age", "alive"), [(1.0, True), (60.0, False)])
def test_people_are_told_of_a_driver_elsewhere_while_its_heartbeat_is_fresh(
    tmp_path: Path, age: float, alive: bool
) -> None:
    beat = {"host": "elsewhere", "pid": 1, "time": time.time() - age}
    (tmp_path / "driver.lock").write_text(json.dumps(beat))
    assert driver_is_alive(ExperimentFolder(tmp_path)) is alive


URL = "memory://runs/small"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Makes this process another machine of the same name; its copy of the experiment."""
    monkeypatch.setattr("dann_search.storage.driver_lock.BEAT_S", 0.05)
    monkeypatch.setattr("dann_search.storage.driver_lock.LOOK_S", 3.0)

    def become(name: str) -> ExperimentFolder:
        boot = tmp_path / f"{name}-boot"
        boot.write_text(name)
        monkeypatch.setattr("dann_search.storage.driver_lock.BOOT_ID", boot)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return ExperimentFolder.at(URL)

    yield become
    fsspec.filesystem("memory").store.clear()


def on_storage() -> dict[str, Any]:
    content = RemoteFolder.of(URL).read("driver.lock")
    assert content
    found: dict[str, Any] = json.loads(content)
    return found


def left_by_a_crash(folder: ExperimentFolder, beat: dict[str, Any]) -> None:
    """A heartbeat as a killed driver leaves it, here and on storage."""
    assert folder.remote
    folder.root.mkdir(parents=True, exist_ok=True)
    folder.lock.write_text(json.dumps(beat))
    folder.remote.write(folder.lock.name, json.dumps(beat).encode())


def test_a_heartbeat_that_goes_on_refuses_a_driver_whatever_the_clocks_say(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = time.time() - 3600
    with DriverLock(machine("head")), monkeypatch.context() as clock:
        clock.setattr(
            "dann_search.storage.driver_lock.time.time", lambda: slow + time.monotonic() % 60
        )
        with pytest.raises(InputError, match="already running"), DriverLock(machine("laptop")):
            pass


def test_a_heartbeat_that_stands_still_is_a_dead_drivers_though_its_clock_is_ahead(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dann_search.storage.driver_lock.LOOK_S", 0.2)
    dead = {"id": "dead", "host": "head", "pid": 1, "time": time.time() + 3600}
    left_by_a_crash(machine("head"), dead)
    with DriverLock(machine("laptop")):
        assert on_storage()["id"] != "dead"


def test_a_driver_killed_on_this_machine_is_not_waited_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine("head")
    with DriverLock(here):
        beat = on_storage()
    left_by_a_crash(here, beat)
    assert not driver_is_alive(here)
    with monkeypatch.context() as patch:
        patch.setattr("dann_search.storage.driver_lock.LOOK_S", 1e6)
        with DriverLock(here):
            pass
    left_by_a_crash(here, beat)
    other = machine("laptop")  # of the same name, but nothing is known of its processes
    assert driver_is_alive(other)


def test_two_containers_of_one_machine_see_each_other(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DriverLock(machine("head")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "container"))
        other = ExperimentFolder.at(URL)
        assert driver_is_alive(other)
        with pytest.raises(InputError, match="already running"), DriverLock(other):
            pass


@pytest.mark.parametrize("ended", [False, True])
def test_a_driver_that_wakes_after_another_took_over_stops_and_leaves_all_as_it_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setattr("dann_search.storage.driver_lock.LOOK_S", 0.2)
    first = DriverLock(machine("laptop"))
    with first._turn:  # it sleeps: its heart does not get its turn
        first.__enter__()
        second = DriverLock(machine("head"))
        second.__enter__()
        if ended:
            second.__exit__(None, None, None)
        who = "" if ended else rf" \(process {os.getpid()} on .*\)"
        for _ in range(2):
            with pytest.raises(TakenOver, match=f"another driver{who} has taken over .*published"):
                first.check()
    assert first.stop_requested.is_set()
    first.__exit__(None, None, None)
    if not ended:
        second.check()
        second.__exit__(None, None, None)
    assert RemoteFolder.of(URL).read("driver.lock") == b""


def test_a_heart_that_finds_anothers_beat_stops_the_search(machine: Machine) -> None:
    folder = machine("laptop")
    assert folder.remote
    with DriverLock(folder) as lock:
        other = json.dumps({"id": "other", "host": "head", "pid": 1}).encode()
        with lock._turn:  # between two beats
            folder.remote.write(folder.lock.name, other)
        assert lock.stop_requested.wait(30)
        with pytest.raises(TakenOver):
            lock.check()
    assert folder.remote.read(folder.lock.name) == other


def test_storage_that_does_not_answer_for_a_while_is_no_other_driver(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TimeoutError("no route")

    with DriverLock(machine("laptop")) as lock:
        with monkeypatch.context() as broken:
            broken.setattr(type(fsspec.filesystem("memory")), "cat_file", fail)
            with pytest.raises(RunError, match="no route"):
                lock.check()
        lock.check()
        assert not lock.stop_requested.is_set()


def test_a_lock_file_on_a_shared_disk_that_is_anothers_stops_the_search(tmp_path: Path) -> None:
    with DriverLock(ExperimentFolder(tmp_path)) as lock:
        lock.check()
        other = json.dumps({"id": "other", "host": "head", "pid": 1})
        lock.path.write_text(other)
        with pytest.raises(TakenOver, match="process 1 on head"):
            lock.check()
    assert lock.path.read_text() == other


def test_readers_that_look_all_the_time_keep_no_driver_from_starting(tmp_path: Path) -> None:
    folder, done = ExperimentFolder(tmp_path), threading.Event()
    folder.lock.touch()

    def look() -> None:
        while not done.is_set():
            driver_is_alive(folder)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(15):
            with DriverLock(folder):
                pass
    finally:
        done.set()
        for reader in readers:
            reader.join()


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_bad_input(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "touch" if code == errno.EROFS else "write_bytes", refused)
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be written: {os.strerror(code)}"):
        DriverLock(ExperimentFolder(tmp_path)).__enter__()


def test_a_file_system_without_locks_is_said_so_and_shows_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(InputError, match=os.strerror(errno.ENOLCK)):
        DriverLock(ExperimentFolder(tmp_path)).__enter__()
    assert not driver_is_alive(ExperimentFolder(tmp_path))
