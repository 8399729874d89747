"""Each process of a search is struck at random moments; the study is complete and exact after it.

Searches on Ray in processes of their own. A search is struck once, or as often as the environment's
DANN_TEST_SEEDS says, and resumed where a strike ends it.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from dann_search.results.leaderboard import finished
from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.retention import left_files
from tests.drivers import LIMIT_S, kill_all, kill_marked, marked, said, start
from tests.experiments import assert_exact, study_trials, tiny_space_file
from tests.faults.strikes import DRIVER, WORKER, Strike, await_moment
from tests.json_output import failed

pytestmark = [pytest.mark.ray, pytest.mark.scenario]

TIMES = int(os.environ.get("DANN_TEST_SEEDS", "0"))
EPOCHS, STALL_S = 15, 6
LOST = 1
"""Exit code where Ray, or the dispatcher, is lost."""

STRIKES = {
    "worker": Strike(WORKER),
    "rank": Strike(WORKER, workers=2),
    "frozen worker": Strike(WORKER, signal.SIGSTOP, after_s=STALL_S),
    "trial": Strike("LightTrial"),
    "controller": Strike("TrainController"),
    "dispatcher": Strike("DispatcherState", ends=(LOST,)),
    "raylet": Strike("/raylet", ends=(LOST,)),
    "gcs": Strike("/gcs_server", ends=(LOST,)),
    "driver": Strike(DRIVER, ends=(-signal.SIGKILL,)),
    "frozen driver": Strike(DRIVER, signal.SIGSTOP, signal.SIGCONT, after_s=STALL_S),
    "SIGTERM": Strike(DRIVER, signal.SIGTERM, ends=(128 + signal.SIGTERM,)),
    "SIGHUP": Strike(DRIVER, signal.SIGHUP, ends=(128 + signal.SIGHUP,)),
    "Ctrl-C": Strike(DRIVER, signal.SIGINT, ends=(128 + signal.SIGINT,)),
    "Ctrl-C twice": Strike(
        DRIVER, signal.SIGINT, signal.SIGINT, after_s=0.8, ends=(128 + signal.SIGINT,)
    ),
}
NOT_ELSEWHERE = ["controller", "frozen driver"]
"""Struck without DANN_TEST_SEEDS: other tests strike the others once."""


@pytest.mark.parametrize("name", STRIKES if TIMES else NOT_ELSEWHERE)
def test_a_search_whose_processes_are_struck_ends_complete_and_exact(
    name: str, tmp_path: Path, tiny_images: Path
) -> None:
    strike, rng, left = STRIKES[name], random.Random(name), TIMES or 1
    each = 1 if strike.ends else 8  # what is not struck trains a trial a second meanwhile
    rates = [0.001 * (n + 1) for n in range(left * each + 2)]
    path = tiny_space_file(
        tmp_path,
        tiny_images,
        search__trials=len(rates),
        search__sampler="grid",
        training__epochs=EPOCHS,
        space={"learning_rate": {"choice": rates}},
        resources__workers_per_trial=strike.workers,
        resources__max_worker_deaths=1000,
        resources__stall_timeout_s=STALL_S,
    )
    folder, command = ExperimentFolder(tmp_path / "runs" / "tiny"), ["launch", str(path)]
    struck = 0
    while True:
        driver = start(tmp_path, *command)
        try:
            while struck < left and await_moment(driver, folder, rng):
                struck += strike.hit(driver, str(tmp_path), rng)
                if strike.ends:
                    break
            out, _ = driver.communicate(timeout=LIMIT_S)
        except BaseException:
            kill_all(driver, str(tmp_path))
            raise
        command = ["resume", str(folder)]
        if driver.returncode == 0:
            break
        assert driver.returncode in (strike.ends or ()), f"{out}\n{said(tmp_path)}"
        if driver.returncode == LOST:
            assert f"dann-search resume {folder}" in failed(command[0], out)
        if driver.returncode == -signal.SIGKILL or name == "Ctrl-C twice":
            kill_marked(str(tmp_path))
    assert struck == left
    assert_exact(folder, tmp_path / "again", strike.workers)
    trials = study_trials(folder)
    assert sorted(trial.params["learning_rate"] for trial in trials) == rates  # each of them once
    best = max(trials, key=lambda trial: (trial.value or 0.0, -trial.number))
    assert finished(read_trials(folder))[0].number == best.number
    assert_nothing_is_left(folder, str(tmp_path))


def assert_nothing_is_left(folder: ExperimentFolder, mark: str) -> None:
    """No process, no lock, no temporary file; the best model is there."""
    until = time.monotonic() + 60
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert marked(mark) == []
    assert folder.lock.read_text() == ""
    assert left_files(folder) == []
    hidden = [path for path in folder.root.rglob(".*") if path.name != ".lock"]
    assert [path for path in hidden if not path.is_relative_to(folder.ray)] == []
    assert (folder.best / "model.json").is_file()
