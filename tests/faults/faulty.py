"""Searches in this process that meet faults: workers that die, freeze, or lack memory."""

import math
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from dann_search.config.trial import TrialConfig
from dann_search.search.executor import RunningSearch, Work
from dann_search.search.launch import Outcome
from dann_search.search.messages import Order, Slot
from dann_search.search.trial_folder import TrialFolder
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import Outages
from dann_search.study.budget import Budget
from dann_search.tracking.observer import Observer
from tests.experiments import (
    retrain,
    run_search,
    saved_history,
    study_trials,
    tiny_space_file,
)
from tests.in_process import (
    NODE,
    InProcessExecutor,
    LocalFleet,
    LocalWorker,
    Replaced,
)

Fault = Callable[["FaultyWorker", int, str], None]
"""Called with a worker, the number of its trial and a moment; raises what is to go wrong then.

Moments: ``begin``, a trial begins; ``step``, a step was made; ``saved``, an epoch is saved and not
yet reported; ``verdict``, in a thread beside the training: it is known whether training continues.
"""
LOOK_S = 0.05
"""Seconds between two signs of life of the workers, and two looks at who is silent."""


def nothing(worker: "FaultyWorker", number: int, moment: str) -> None:
    """The fault that there is none."""


class WorkerDied(BaseException):
    """Ends a worker as the death of its process would; no handler of errors sees it."""


class FaultyFleet(LocalFleet):
    """Slots whose workers meet a fault, and are ended where they are silent."""

    def __init__(self, work: Work, executor: "FaultyExecutor"):
        super().__init__(work, executor.trials_at_once)
        self.executor = executor
        if math.isfinite(executor.memory):
            self.dispatcher.ask("has_memory", NODE, executor.memory)
        self.workers: list[FaultyWorker] = []
        self._ended = threading.Event()
        self._looker = threading.Thread(target=self._look, daemon=True, name="looker")
        self._looker.start()

    def worker(self, slot: Slot) -> "FaultyWorker":
        self.workers.append(worker := FaultyWorker(self, slot))
        return worker

    def memory_of(self, config: TrialConfig) -> tuple[int, str]:
        what = f"batch_size {config.batch_size} of {config.backbone}"
        return self.executor.memory_of(config), what

    def join(self) -> None:
        super().join()
        self._ended.set()
        self._looker.join()

    def _look(self) -> None:
        """Do what the watchdogs and the fleet do beside the training."""
        while not self._ended.wait(LOOK_S):
            for worker in list(self.workers):
                if worker.generation == self.generation and not worker.is_frozen:
                    self.dispatcher.ask("alive", worker.seat.slot, 0)
            for worker in self.dispatcher.ask("end_silent", self.resources.stall_timeout_s):
                worker.is_ended = True
                self.restart(worker.generation, {worker.seat.slot[1]: WorkerDied("ended")})


class FaultyWorker(LocalWorker):
    """A worker that meets the executor's fault at each moment."""

    fleet: FaultyFleet

    def __init__(self, fleet: FaultyFleet, slot: Slot):
        super().__init__(fleet, slot)
        self.fault = fleet.executor.fault
        self.is_cut_off = False
        """Whether it continues, unknown to the fleet, as on a node that the network has lost."""
        self.is_frozen = self.is_ended = False
        self.is_waiting = False
        """Whether it waits for something else than its own training."""
        self._number: int | None = None

    def run(self) -> None:
        self.ask("seated", self.seat.slot, 0, self)
        super().run()
        self.ask("left", self.seat.slot, 0)

    def freeze(self) -> None:
        """Do nothing more, as a process that was stopped, until it is ended."""
        self.is_frozen = True
        while not self.is_ended:
            time.sleep(LOOK_S)
        raise Replaced

    def cut_off(self) -> None:
        """Have the fleet lose this worker's node, while the worker itself continues."""
        self.is_cut_off = True
        self.fleet.restart(self.generation, {}, new_run=True)

    def check(self) -> None:
        if not self.is_cut_off:
            super().check()

    def ask(self, method: str, *arguments: Any) -> Any:
        answer = super().ask(method, *arguments)
        if method == "report":
            self.fault(self, arguments[1], "verdict")
            self.check()
        return answer

    def rest(self) -> None:
        self.is_waiting = True

    def beat(self) -> None:
        self.is_waiting = False
        super().beat()
        if self._number is not None:
            self.fault(self, self._number, "step")

    def next_epoch(self, number: int, epochs: Iterator[Any]) -> Any:
        self._number = number
        try:
            return super().next_epoch(number, epochs)
        finally:
            self._number = None

    def _epochs(self, order: Order, folder: TrialFolder, outages: Outages) -> Iterator[Any]:
        self.fault(self, order.number, "begin")
        for history in super()._epochs(order, folder, outages):
            self.fault(self, order.number, "saved")
            yield history


@dataclass(frozen=True)
class FaultyExecutor(InProcessExecutor):
    """Trains in threads that meet faults.

    Args:
        fault: what is to go wrong.
        memory: bytes of the node that stands for this process.
        memory_of: bytes that a trial takes of it.
    """

    fault: Fault = nothing
    memory: float = math.inf
    memory_of: Callable[[TrialConfig], int] = lambda config: 0

    def make_fleet(self, work: Work) -> FaultyFleet:
        return FaultyFleet(work, self)


RATES, EPOCHS = [0.01, 0.03, 0.08], 3
TRIALS = len(RATES)
SEEDS = range(int(os.environ.get("DANN_TEST_SEEDS", "4")))
"""Seeds of what goes wrong: twenty by ``DANN_TEST_SEEDS=20``."""
Histories = dict[float, list[dict[str, Any]]]
"""The epochs of trials, by their learning rate: on a grid each rate has one trial."""


def space_of(folder: Path, images: Path, **changes: Any) -> Path:
    """Write an experiment file whose search trains each rate once."""
    fixed = {"search__trials": TRIALS, "training__epochs": EPOCHS, "search__sampler": "grid"}
    grid = {"learning_rate": {"choice": RATES}}
    return tiny_space_file(folder, images, **{**fixed, **changes}, space=grid)


def run(path: Path, fault: Fault = nothing, observer: Observer | None = None) -> Outcome:
    """Begin a search, or continue with it."""
    return run_search(path, observer, FaultyExecutor(fault=fault))[0]


def histories(folder: ExperimentFolder) -> Histories:
    """The epochs in the files of every completed trial, which must be those in the study."""
    found = {}
    for trial in study_trials(folder):
        if trial.state == TrialState.FAIL:
            continue
        folder.fetch(folder.trial(trial.number) / "last.safetensors")
        history = saved_history(folder, trial.number)
        scores = [epoch["f1_macro_val"] for epoch in history]
        assert list(trial.intermediate_values.values()) == scores
        assert (trial.state, trial.value) == (TrialState.COMPLETE, max(scores))
        assert folder.trial_record(trial.number).is_file()
        found[trial.params["learning_rate"]] = history
    return found


@pytest.fixture(scope="session")
def undisturbed(tiny_images: Path) -> Histories:
    """What the search comes to where nothing goes wrong."""
    return _undisturbed(tiny_images)


@cache  # for all modules that import the fixture
def _undisturbed(images: Path) -> Histories:
    place = images.with_name("undisturbed")
    place.mkdir()
    folder = run(space_of(place, images)).folder
    found = histories(folder)
    assert sorted(found) == RATES
    assert {len(history) for history in found.values()} == {EPOCHS}
    assert len({str(history) for history in found.values()}) == TRIALS
    config = study_trials(folder)[2].user_attrs["config"]
    assert found[config["learning_rate"]] == retrain(folder, config, folder.root / "again")
    return found


class Deaths:
    """Worker deaths at moments drawn from a seed; no trial dies often enough to be given up."""

    def __init__(self, seed: int, share: float = 0.15):
        self.random, self.share = random.Random(seed), share
        self.died: Counter[int] = Counter()

    def __call__(self, worker: FaultyWorker, number: int, moment: str) -> None:
        if self.died[number] < 2 and self.random.random() < self.share:
            self.died[number] += 1
            raise WorkerDied(f"killed at {moment}")


class DriverDied(BaseException):
    """Ends the driver; no handler of errors sees it."""


class Interrupts(Observer):
    """Ctrl-C after so many epochs."""

    def __init__(self, interrupt: threading.Event, after: int) -> None:
        self.interrupt, self.left = interrupt, after

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        self.left -= len(history) - known
        if self.left <= 0:
            self.interrupt.set()


@dataclass(frozen=True)
class Interrupted(FaultyExecutor):
    """Trains until that Ctrl-C."""

    after: int = 0

    def follow(
        self, search: RunningSearch, observers: list[Observer], fleet: Any, budget: Budget
    ) -> str:
        watching = [*observers, Interrupts(search.interrupt, self.after)]
        return super().follow(search, watching, fleet, budget)
