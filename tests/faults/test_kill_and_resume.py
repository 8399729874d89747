"""SIGKILL to the driver and all its Ray processes at any moment, then resume."""

import contextlib
import csv
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from dann_search.results.leaderboard import finished as finished_rows
from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from tests.drivers import LIMIT_S, kill_all, marked, said, start, wait_for_epochs
from tests.experiments import (
    assert_exact,
    saved_history,
    space_file,
    study_trials,
    tiny_space_file,
)
from tests.json_output import failed, printed
from tests.terminals import Terminal

pytestmark = pytest.mark.ray

TRIALS, EPOCHS = 6, 4


def test_a_search_that_is_killed_in_the_middle_loses_nothing(
    tmp_path: Path, tiny_images: Path
) -> None:
    changes = {"search__trials": 3, "training__epochs": 20}
    path = tiny_space_file(tmp_path, tiny_images, **changes)
    folder = ExperimentFolder(tmp_path / "runs" / "tiny")
    driver = start(tmp_path, "launch", str(path))
    wait_for_epochs(folder, 10, driver)
    kill_all(driver, str(tmp_path))
    finished = finished_trials(folder)

    driver = start(tmp_path, "resume", str(folder.root))
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, out
    assert printed("resume", out)["trials"] == {"completed": 3, "pruned": 0, "failed": 0}
    assert finished.items() <= finished_trials(folder).items()
    assert_exact(folder, tmp_path / "again")


@pytest.mark.scenario
def test_a_search_killed_at_random_moments_is_complete_and_consistent_in_the_end(
    tmp_path: Path,
) -> None:
    """With DANN_TEST_KILLS=20 in the environment twenty of them: each costs a start of Ray."""
    kills = int(os.environ.get("DANN_TEST_KILLS", "3"))
    rng = random.Random(5)
    path = space_file(
        tmp_path,
        search__trials=4 + kills,
        search__scheduler="asha",
        search__sampler="tpe",
        search__confirm={"top": 1, "seeds": 1},
        training__epochs=EPOCHS,
    )
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    command, killed = ["launch", str(path)], 0
    finished: dict[int, tuple[Any, ...]] = {}
    while killed < kills:
        driver = start(tmp_path, *command)
        moment = time.monotonic() + rng.uniform(0.5, 30)
        while driver.poll() is None and time.monotonic() < moment:
            time.sleep(0.05)
        kill_all(driver, str(tmp_path))
        # Not one that ended in the moment between: the kill itself is what counts.
        killed += driver.returncode == -signal.SIGKILL
        assert driver.returncode in (0, -signal.SIGKILL), driver.communicate()[0]
        if folder.study.exists():
            now = finished_trials(folder)
            assert finished.items() <= now.items()
            finished = now
        if folder.record.exists():
            command = ["resume", str(folder.root)]
            if driver.returncode == 0:  # done before its moment: give it more to do
                command += ["--add-trials", "4"]
    assert killed == kills
    driver = start(tmp_path, *command)
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, out
    trials = study_trials(folder)
    assert finished.items() <= finished_trials(folder).items()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    for trial in trials:
        epochs = list(trial.intermediate_values)
        assert epochs == list(range(1, len(epochs) + 1))
        saved = [epoch["f1_macro_val"] for epoch in saved_history(folder, trial.number)]
        assert list(trial.intermediate_values.values()) == saved[: len(epochs)]
        if trial.state == TrialState.COMPLETE:
            assert (len(epochs), trial.value) == (EPOCHS, max(saved))
    searched = [trial for trial in trials if "confirms" not in trial.user_attrs]
    rows = read_trials(folder)
    assert len(rows) == len(trials) and len(searched) >= 4 + kills
    best = max(
        (t for t in searched if t.state == TrialState.COMPLETE), key=lambda t: (t.value, -t.number)
    )
    confirmed = [row for row in rows if row.confirms == best.number]
    assert len(confirmed) == 1
    # More trials may have brought another finalist: of all that were confirmed the best mean wins.
    means = {row.number: row.confirmed_mean for row in rows if row.confirmed_mean is not None}
    assert best.number in means
    first = max(means, key=lambda number: (means[number], -number))
    assert finished_rows(rows)[0].number == first
    check_leaderboard(folder, trials, [best.number])
    assert json.loads((folder.best / "model.json").read_text())["trial"] == first
    told = printed("resume", out)["trials"]
    assert sum(told.values()) == len(searched)


def check_leaderboard(
    folder: ExperimentFolder, trials: list[FrozenTrial], finalists: list[int]
) -> None:
    """leaderboard.csv has every trial once, as the study has it, in the order it promises."""
    lines = list(csv.DictReader(folder.leaderboard.read_text().splitlines()))
    assert [line["rank"] for line in lines] == [str(n + 1) for n in range(len(trials))]
    assert sorted(int(line["trial"]) for line in lines) == [trial.number for trial in trials]
    for line in lines:
        trial = trials[int(line["trial"])]
        state = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}[trial.state]
        assert (line["state"], int(line["epochs"])) == (state, len(trial.intermediate_values))
        assert float(line["f1_macro_val"]) == max(trial.intermediate_values.values())
    confirmed = [line for line in lines if line["confirmed_mean"]]
    others = [
        line
        for line in lines
        if line["state"] == "completed" and not line["confirmed_mean"] and not line["confirms"]
    ]
    pruned = [line for line in lines if line["state"] == "pruned"]
    again = [line for line in lines if line["confirms"]]
    assert lines == [*confirmed, *others, *pruned, *again]
    assert {int(line["trial"]) for line in confirmed} >= set(finalists)
    for group, column in ((confirmed, "confirmed_mean"), (others, "f1_macro_val")):
        order = [(-float(line[column]), int(line["trial"])) for line in group]
        assert order == sorted(order)


def finished_trials(folder: ExperimentFolder) -> dict[int, tuple[Any, ...]]:
    """What may never change again: value, epochs and times of each finished trial."""
    return {
        trial.number: (
            trial.state,
            trial.value,
            tuple(trial.intermediate_values.items()),
            trial.datetime_start,
            trial.datetime_complete,
        )
        for trial in study_trials(folder)
        if trial.state.is_finished()
    }


@pytest.mark.scenario
def test_signals_keep_what_was_trained_and_print_the_resume_command(tmp_path: Path) -> None:
    path = space_file(tmp_path, search__trials=TRIALS, training__epochs=400)
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    command = [sys.executable, "-m", "dann_search.cli", "launch", str(path)]
    terminal = Terminal(command, tmp_path, DANN_TEST_MARK=str(tmp_path))
    wait_for_epochs(folder, 4, terminal.process)
    refused = start(tmp_path, "resume", str(folder.root))
    assert "already running" in failed("resume", refused.communicate(timeout=LIMIT_S)[0])
    assert refused.returncode == 2
    terminal.process.send_signal(signal.SIGTERM)
    shown = terminal.wait(LIMIT_S)
    assert terminal.process.returncode == 128 + signal.SIGTERM, shown
    assert "trials done, 2 running" in shown  # the live table, and none of Ray's banners above it
    assert "Number of trials" not in shown
    assert f"dann-search resume {folder.root}" in shown.replace("\r\n", "")
    assert "Traceback" not in shown
    before = unfinished(folder)
    assert marked(str(tmp_path)) == []

    driver = start(tmp_path, "resume", str(folder.root))
    wait_for_epochs(folder, sum(before) + 4, driver)
    driver.send_signal(signal.SIGINT)
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 128 + signal.SIGINT, said(tmp_path)
    assert printed("resume", out)["stopped_by"] == "interrupt"
    assert "Traceback" not in said(tmp_path)
    after = unfinished(folder)
    assert sum(after) > sum(before) and min(map(int.__sub__, after, before)) >= 0
    assert marked(str(tmp_path)) == []

    # systemd and Slurm send SIGTERM to Ray's processes, too: no step can be saved any more.
    driver = start(tmp_path, "resume", str(folder.root))
    wait_for_epochs(folder, sum(after) + 4, driver)
    for pid in marked(str(tmp_path)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 128 + signal.SIGTERM, out + said(tmp_path)
    error = failed("resume", out)
    assert error.startswith("Ray on this machine ")
    assert f"dann-search resume {folder.root}" in error
    assert "Traceback" not in said(tmp_path)
    assert min(map(int.__sub__, unfinished(folder), after)) >= 0


def unfinished(folder: ExperimentFolder) -> list[int]:
    """Epochs in the checkpoints of the two trials that were running."""
    assert [trial.state for trial in study_trials(folder)] == [TrialState.RUNNING] * 2
    epochs = [len(saved_history(folder, number)) for number in range(2)]
    assert min(epochs) >= 1
    return epochs


@pytest.mark.scenario
@pytest.mark.parametrize("process", ["gcs_server", "raylet"])
def test_a_ray_that_dies_on_this_machine_is_said_and_leaves_nothing_over(
    tmp_path: Path, process: str
) -> None:
    path = space_file(tmp_path, search__trials=2, training__epochs=5000)
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    driver = start(tmp_path, "launch", str(path))
    try:
        wait_for_epochs(folder, 2, driver)
        for pid in marked(str(tmp_path)):
            program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
            if program.endswith(f"/{process}".encode()):
                os.kill(pid, signal.SIGKILL)
        out, _ = driver.communicate(timeout=LIMIT_S)
        error = failed("launch", out)
        assert driver.returncode == 1
        assert error.startswith("Ray on this machine ")
        assert f"what was trained is kept; log: {folder.ray}" in error
        assert error.endswith(f"dann-search resume {folder}")
        deadline = time.monotonic() + LIMIT_S
        while marked(str(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert marked(str(tmp_path)) == []
        assert TrialState.FAIL not in {trial.state for trial in study_trials(folder)}
    finally:
        kill_all(driver, str(tmp_path))
