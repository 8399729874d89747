"""Whole searches in this process: real training, study and dispatcher, and every kind of crash.

What a schedule of crashes must come to is known: the histories of the search that met none.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.errors import RunError
from dann_search.models.registry import stage_counts
from dann_search.search import dispatcher
from dann_search.search.launch import prepare
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.observer import Observer
from tests.drivers import wait_for_epochs
from tests.experiments import (
    Reports,
    assert_exact,
    run_search,
    saved_history,
    study_trials,
    tiny_space_file,
)
from tests.faults.faulty import (
    EPOCHS,
    SEEDS,
    TRIALS,
    Deaths,
    DriverDied,
    Fault,
    FaultyExecutor,
    FaultyWorker,
    Histories,
    Interrupted,
    WorkerDied,
    histories,
    run,
    space_of,
    undisturbed,
)
from tests.in_process import InProcessExecutor

__all__ = ["undisturbed"]  # a fixture


EACH_EPOCH_ONCE = {(number, epoch): 1 for number in range(TRIALS) for epoch in range(1, EPOCHS + 1)}


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_that_die_at_any_moment_change_no_number(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories, seed: int
) -> None:
    deaths, reports = Deaths(seed), Reports()
    folder = run(space_of(tmp_path, tiny_images), deaths, reports).folder
    assert deaths.died.total() >= 3
    assert histories(folder) == undisturbed
    assert reports.steps == EACH_EPOCH_ONCE
    assert reports.ends == {(number, "completed"): 1 for number in range(TRIALS)}


class Crowded:
    """Kills a trial for memory whenever another one trains, as its node has no more of it."""

    def __init__(self, always: bool = False):
        self.always = always
        self.deaths: Counter[int] = Counter()
        self.died = threading.Event()

    def __call__(self, worker: FaultyWorker, number: int, moment: str) -> None:
        if number == 0 and moment == "saved":  # it is there until the other one has begun
            assert self.died.wait(60)
        runs = worker.fleet.dispatcher.state.runs.by_name
        beside = len(runs[worker.seat.slot[0]].training) - 1
        if number == 1 and moment == "step" and (beside or self.always):
            self.deaths[number] += 1
            self.died.set()
            raise WorkerDied("killed due to the node running low on memory")


def test_a_trial_killed_for_memory_trains_alone_to_the_same_numbers(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    crowded, reports = Crowded(), Reports()
    path = space_of(tmp_path, tiny_images, resources__max_worker_deaths=1)
    folder = run(path, crowded, reports).folder
    assert crowded.deaths == {1: 1}
    assert histories(folder) == undisturbed
    assert reports.steps == EACH_EPOCH_ONCE


def test_a_trial_that_is_killed_for_memory_even_alone_says_what_it_needs_and_what_there_is(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    crowded = Crowded(always=True)
    executor = FaultyExecutor(fault=crowded, memory=9e9, memory_of=lambda config: 10**9)
    outcome, trials = run_search(space_of(tmp_path, tiny_images), executor=executor)
    assert crowded.deaths == {1: 2}
    assert outcome.counts.failed == 1
    assert (
        trials[1]
        .user_attrs["error"]
        .startswith(
            "out of memory: batch_size 16 of dann_cnn needs about 1.0 GB; the node has 9.0 GB"
        )
    )
    spared = histories(outcome.folder)
    assert len(spared) == TRIALS - 1
    assert spared.items() <= undisturbed.items()


def test_memory_that_a_step_cannot_have_is_no_fault_of_its_trial_beside_another(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    refused = list[int]()

    def fault(worker: FaultyWorker, number: int, moment: str) -> None:
        if number == 0 and moment == "step" and not refused:
            refused.append(number)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    reports = Reports()
    folder = run(space_of(tmp_path, tiny_images), fault, reports).folder
    assert refused
    assert histories(folder) == undisturbed
    assert reports.steps == EACH_EPOCH_ONCE


def test_trials_that_do_not_fit_beside_each_other_train_one_after_another(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    together = set[int]()

    def watch(worker: FaultyWorker, number: int, moment: str) -> None:
        runs = worker.fleet.dispatcher.state.runs.by_name
        together.add(len(runs[worker.seat.slot[0]].training))

    executor = FaultyExecutor(fault=watch, memory=9e9, memory_of=lambda config: 5 * 10**9)
    folder = run_search(space_of(tmp_path, tiny_images), executor=executor)[0].folder
    assert together == {1}
    assert histories(folder) == undisturbed


class DiesAtRandom(Observer):
    """Ends the driver at moments drawn from a seed."""

    def __init__(self, seed: int, share: float = 0.35):
        self.random, self.share = random.Random(seed), share

    def _die(self) -> None:
        if self.random.random() < self.share:
            raise DriverDied

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        self._die()

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        self._die()

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        self._die()


def survive(path: Path, fault: Fault, dies: DiesAtRandom) -> int:
    """Go on with a search until its driver lives to the end; how often it has died.

    What is finished never changes, with its values and times.
    """
    folder = ExperimentFolder(path.parent / "runs" / "tiny")
    finished: dict[int, Any] = {}
    crashes = 0
    while True:
        with suppress(DriverDied):
            run(path, fault, dies)
            return crashes
        crashes += 1
        now = {t.number: t for t in study_trials(folder) if t.state.is_finished()}
        assert finished.items() <= now.items()
        finished = now


@pytest.mark.parametrize("seed", SEEDS)
def test_a_driver_that_dies_again_and_again_changes_no_number(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories, seed: int
) -> None:
    path = space_of(tmp_path, tiny_images)
    assert survive(path, Deaths(seed, share=0.05), DiesAtRandom(seed + 1)) >= 2
    assert histories(ExperimentFolder(tmp_path / "runs" / "tiny")) == undisturbed


SEARCH = """
import sys
from pathlib import Path
import torch
from tests.experiments import run_search
from tests.in_process import InProcessExecutor

torch.set_num_threads(1)  # as the tests do: numbers depend on it
run_search(Path(sys.argv[1]), executor=InProcessExecutor())
"""


def test_a_driver_that_is_killed_in_the_middle_loses_nothing(
    tmp_path: Path, tiny_images: Path
) -> None:
    path = tiny_space_file(tmp_path, tiny_images, search__trials=3, training__epochs=8)
    folder = ExperimentFolder(tmp_path / "runs" / "tiny")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen([sys.executable, "-c", SEARCH, str(path)], env=environment)
    wait_for_epochs(folder, 3, driver)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    run_search(path, executor=InProcessExecutor())
    assert len(study_trials(folder)) == 3
    assert_exact(folder, tmp_path / "again")


def test_a_trial_that_always_kills_its_worker_and_one_that_raises_fail_alone(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    def fault(worker: FaultyWorker, number: int, moment: str) -> None:
        if number == 0 and moment == "step":
            raise WorkerDied("out of memory")
        if number == 2 and moment == "saved":
            raise ValueError("a fault on purpose")

    reports = Reports()
    outcome = run(space_of(tmp_path, tiny_images), fault, reports)
    trials = study_trials(outcome.folder)
    failed = [trial.number for trial in trials if trial.state == TrialState.FAIL]
    assert failed == [0, 2] and outcome.counts.completed == TRIALS - 2
    assert trials[0].user_attrs["error"] == (
        "its worker died 3 times while training it; the last time: out of memory"
    )
    assert trials[2].user_attrs["error"] == "ValueError: a fault on purpose"
    assert "a fault on purpose" in (outcome.folder.trial(2) / "error.txt").read_text()
    found = histories(outcome.folder)
    assert len(found) == TRIALS - 2 and found.items() <= undisturbed.items()
    assert set(reports.steps.values()) == {1}


def test_a_node_that_was_lost_and_reports_late_is_not_heard(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    """Its worker trains on, unknown to anybody, while another slot does the same epochs."""
    replaced, late = threading.Event(), list[int]()

    def fault(worker: FaultyWorker, number: int, moment: str) -> None:
        if moment == "saved" and number == 0 and not late:
            late.append(number)
            worker.cut_off()
            assert replaced.wait(60)
        elif moment == "saved" and number == 0 and late and not worker.is_cut_off:
            replaced.set()

    reports = Reports()
    folder = run(space_of(tmp_path, tiny_images), fault, reports).folder
    assert late and replaced.is_set()
    assert histories(folder) == undisturbed
    assert reports.steps == EACH_EPOCH_ONCE


class Freezes:
    """Workers that stop at a moment of a trial, as under SIGSTOP, so often."""

    def __init__(self, number: int, moment: str, times: int = 1):
        self.number, self.moment, self.left = number, moment, times

    def __call__(self, worker: FaultyWorker, number: int, moment: str) -> None:
        if (number, moment) == (self.number, self.moment) and self.left:
            self.left -= 1
            worker.freeze()


@pytest.mark.parametrize("moment", ["begin", "step", "saved"])
def test_a_worker_that_freezes_costs_its_trial_nothing(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories, moment: str
) -> None:
    freezes, reports = Freezes(1, moment), Reports()
    changes = {"resources__max_worker_deaths": 1, "resources__stall_timeout_s": 0.5}
    folder = run(space_of(tmp_path, tiny_images, **changes), freezes, reports).folder
    assert freezes.left == 0
    assert histories(folder) == undisturbed
    assert reports.steps == EACH_EPOCH_ONCE


@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_search_goes_on_to_the_same_numbers(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories, after: int
) -> None:
    path = space_of(tmp_path, tiny_images)
    outcome, _ = run_search(path, executor=Interrupted(after=after))
    assert outcome.stopped_by == "interrupt"
    assert outcome.counts.completed < TRIALS
    outcome = run(path)
    assert outcome.stopped_by == "trials"
    assert histories(outcome.folder) == undisturbed


def test_an_interrupted_search_waits_for_no_frozen_worker(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "SILENT_S", 0.5)  # its stall timeout is ten minutes
    path, freezes = space_of(tmp_path, tiny_images), Freezes(1, "saved")
    outcome, _ = run_search(path, executor=Interrupted(after=4, fault=freezes))
    assert (outcome.stopped_by, freezes.left) == ("interrupt", 0)
    assert histories(run(path).folder) == undisturbed


def test_groups_are_renewed_after_their_number_of_trials(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    seen = set[str]()

    def fault(worker: FaultyWorker, number: int, moment: str) -> None:
        seen.add(worker.seat.slot[0])

    folder = run(space_of(tmp_path, tiny_images, resources__trials_per_group=2), fault).folder
    assert len(seen) == 2  # three trials, two a run
    assert histories(folder) == undisturbed


def test_trials_that_a_pruner_stops_stay_stopped_whatever_dies(
    tmp_path: Path, tiny_images: Path
) -> None:
    changes = {"search__scheduler": "asha", "search__trials": 7, "training__epochs": 4}
    path = tiny_space_file(tmp_path, tiny_images, **changes)
    survive(path, Deaths(1, share=0.05), DiesAtRandom(1, share=0.1))
    folder = ExperimentFolder(tmp_path / "runs" / "tiny")
    trials = study_trials(folder)
    states = Counter(trial.state for trial in trials)
    assert [trial.number for trial in trials] == list(range(7))
    assert states[TrialState.PRUNED] >= 1
    assert states[TrialState.PRUNED] + states[TrialState.COMPLETE] == 7
    for trial in trials:
        saved = [epoch["f1_macro_val"] for epoch in saved_history(folder, trial.number)]
        values = list(trial.intermediate_values.values())
        # A worker may have been an epoch ahead of the decision to stop it.
        assert values == saved[: len(values)]
        assert len(values) == 4 if trial.state == TrialState.COMPLETE else len(values) < 4


def test_a_search_leaves_the_models_of_its_best_trials_alone_whatever_dies(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    path = space_of(tmp_path, tiny_images, search__keep_best=2)
    run_search(path, executor=Interrupted(after=5, fault=Deaths(3)))
    folder = run(path, Deaths(4)).folder
    assert histories(folder) == undisturbed
    best = sorted(study_trials(folder), key=lambda t: (-(t.value or 0.0), t.number))[:2]
    left = {file.relative_to(folder.trials) for file in folder.trials.rglob("*.safetensors")}
    assert left == {Path(str(trial.number), "best.safetensors") for trial in best}


def test_images_that_are_not_there_end_the_search_which_can_be_resumed(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    path = space_of(tmp_path, tiny_images)
    experiment, space = load_experiment(path, stage_counts())
    folder = prepare(experiment, space)
    images = folder.data / "target.train.images.npy"
    away = images.rename(images.with_suffix(".away"))
    with pytest.raises(RunError, match=r"target\.train\.images\.npy") as error:
        run(path)
    assert f"dann-search resume {folder}" in str(error.value)
    away.rename(images)
    run(path)
    assert histories(folder) == undisturbed
