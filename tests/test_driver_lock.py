"""One driver an experiment, and no lock left in the way by a crash."""

import json
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from dann_search.driver_lock import DriverLock, driver_is_alive
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder


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


@pytest.mark.parametrize(("age", "alive"), [(1.0, True), (60.0, False)])
def test_the_heartbeat_of_another_host_counts_while_it_is_fresh(
    tmp_path: Path, age: float, alive: bool
) -> None:
    beat = {"host": "elsewhere", "pid": 1, "time": time.time() - age}
    (tmp_path / "driver.lock").write_text(json.dumps(beat))
    assert driver_is_alive(ExperimentFolder(tmp_path)) is alive
    if alive:
        with (
            pytest.raises(InputError, match="process 1 on elsewhere"),
            DriverLock(ExperimentFolder(tmp_path)),
        ):
            pass
    else:
        with DriverLock(ExperimentFolder(tmp_path)):
            assert driver_is_alive(ExperimentFolder(tmp_path))
