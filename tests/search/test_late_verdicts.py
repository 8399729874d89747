"""Training continues while its verdict is out: how late that is changes nothing."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST, load_checkpoint, load_last
from tests.experiments import run_search, saved_history, study_trials, tiny_space_file
from tests.faults.faulty import (
    Deaths,
    Fault,
    FaultyExecutor,
    FaultyWorker,
    Histories,
    Interrupted,
    histories,
    nothing,
    space_of,
    undisturbed,
)

__all__ = ["undisturbed"]  # a fixture

EPOCHS, STEPS = 4, 3
STEP_S = 0.03
"""Of a step: longer than a checkpoint is written, so that a report is sent within an epoch."""


class Late:
    """Verdicts that reach their worker some steps late, as a seed says; other faults beside them.

    Some come at once, some in the middle of the next epoch, some only when that is waited for.
    """

    def __init__(self, seed: int, fault: Fault = nothing):
        self.random, self.fault = random.Random(seed), fault
        self.steps: Counter[int] = Counter()
        self.ahead = 0
        """Verdicts that came after a step of the next epoch."""

    def __call__(self, worker: FaultyWorker, number: int, moment: str) -> None:
        if moment == "verdict":
            late = self.random.randint(0, STEPS + 1)
            begun = self.steps[id(worker)]
            while self.steps[id(worker)] < begun + late and not worker.is_waiting:
                time.sleep(0.001)
            self.ahead += self.steps[id(worker)] > begun
            return
        if moment == "step":
            self.steps[id(worker)] += 1
            time.sleep(STEP_S)
        self.fault(worker, number, moment)


def pruned_search(folder: Path, images: Path, fault: Fault = nothing, **changes: Any) -> Any:
    """A search of one slot whose trials are stopped early, after two epochs and after each rung."""
    changes |= {"search__scheduler": "asha", "search__trials": 6, "training__epochs": EPOCHS}
    path = tiny_space_file(folder, images, search__sampler="tpe", **changes)
    executor = FaultyExecutor(trials_at_once=1, fault=fault)
    return run_search(path, executor=executor)[0].folder


@dataclass(frozen=True)
class Left:
    """What a search leaves of a trial, its times left out."""

    state: TrialState
    params: dict[str, Any]
    scores: list[float]
    history: list[dict[str, Any]]
    last: int
    best: int
    weights: dict[str, Any]
    files: list[str]


def left(folder: ExperimentFolder, trial: FrozenTrial) -> Left:
    path = folder.trial(trial.number)
    best, last = load_checkpoint(path / BEST), load_last(path)
    return Left(
        trial.state,
        trial.params,
        list(trial.intermediate_values.values()),
        saved_history(folder, trial.number),
        len(last[0].history) if last else 0,
        len(best.history),
        {name: value.tolist() for name, value in best.model.items()},
        sorted(file.name for file in path.iterdir()),
    )


def all_left(folder: ExperimentFolder) -> list[Left]:
    return [left(folder, trial) for trial in study_trials(folder)]


@pytest.fixture(scope="module")
def in_time(tmp_path_factory: pytest.TempPathFactory, tiny_images: Path) -> list[Left]:
    """What is left where every verdict is there before the next step."""

    def wait(worker: FaultyWorker, number: int, moment: str) -> None:
        verdict = worker.reports._verdict
        if moment == "step" and verdict is not None:
            while not verdict.done():
                time.sleep(0.001)

    found = all_left(pruned_search(tmp_path_factory.mktemp("in-time"), tiny_images, wait))
    assert {one.state for one in found} == {TrialState.COMPLETE, TrialState.PRUNED}
    for one in found:
        assert len(one.scores) == len(one.history)
    return found


def test_a_search_does_not_depend_on_how_late_its_verdicts_are(
    tmp_path: Path, tiny_images: Path, in_time: list[Left]
) -> None:
    late = Late(1, Deaths(1, share=0.03))
    assert all_left(pruned_search(tmp_path, tiny_images, late)) == in_time
    assert late.ahead


def test_late_verdicts_deaths_and_pauses_change_no_number(
    tmp_path: Path, tiny_images: Path, undisturbed: Histories
) -> None:
    path = space_of(tmp_path, tiny_images)
    for after in (2, 4):
        late = Late(after, Deaths(1, share=0.03))
        run_search(path, executor=Interrupted(after=after, fault=late))
    outcome, _ = run_search(path, executor=FaultyExecutor(fault=Late(0)))
    assert histories(outcome.folder) == undisturbed


def test_an_error_in_an_epoch_after_the_stop_leaves_no_trace(
    tmp_path: Path, tiny_images: Path, in_time: list[Left]
) -> None:
    stopped = next(n for n, one in enumerate(in_time) if one.state == TrialState.PRUNED)
    saved, met = Counter[int](), threading.Event()

    def fault(worker: FaultyWorker, number: int, moment: str) -> None:
        saved[number] += moment == "saved"
        if moment == "step":
            time.sleep(STEP_S)
        if number != stopped or saved[number] < len(in_time[stopped].scores):
            return
        if moment == "step":
            met.set()
            raise ValueError("a fault on purpose")
        if moment == "verdict":
            assert met.wait(60)

    assert all_left(pruned_search(tmp_path, tiny_images, fault)) == in_time
    assert met.is_set()
