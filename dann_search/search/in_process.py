"""Trains a search's trials in threads of this process, without Ray: for tests and for a debugger.

Dispatcher, workers, study, searcher and scheduler are those of a search on Ray; what differs is
that slots are threads, and that a loop of a few lines stands in for Ray Tune. One trial trains at a
time, as torch's random numbers are the process's.
"""

import math
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from dann_search.config.extension_files import extensions_in_use
from dann_search.config.trial import TrialConfig
from dann_search.search.executor import RunningSearch
from dann_search.search.local_fleet import Fault, LocalFleet
from dann_search.search.slot_worker import WorkerConfig
from dann_search.search.trial import TrialFollower
from dann_search.search.tune_run import (
    SearchStopper,
    StudyScheduler,
    StudySearcher,
    bookkeeper_of,
)
from dann_search.study.budget import Budget
from dann_search.tracking.observer import Observer

LOOK_S = 0.02
"""How often interrupts and budgets are looked at."""


class LocalTune:
    """Follows trials as Ray Tune does, each with a thread that waits for its epochs."""

    def __init__(self, searcher: StudySearcher, scheduler: StudyScheduler, fleet: LocalFleet):
        self.searcher, self.scheduler, self.fleet = searcher, scheduler, fleet
        self.results: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.followers: dict[str, TrialFollower] = {}
        self._made = 0

    def run(self, stopper: SearchStopper) -> None:
        """Follow trials until the searcher has no more, or the stopper ends the search."""
        while not stopper.stop_all():
            self.fleet.look()
            proposed = self._propose()
            if proposed == Searcher.FINISHED and not self.followers:
                return
            try:
                trial_id, result = self.results.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            self._hear(trial_id, result)
        for trial_id in list(self.followers):
            self._end(trial_id, None)

    def _propose(self) -> Any:
        while isinstance(config := self.searcher.suggest(str(self._made)), dict):
            trial_id = str(self._made)
            self._made += 1
            self.followers[trial_id] = TrialFollower(config, self.fleet.dispatcher)
            self._follow(trial_id)
        return config

    def _follow(self, trial_id: str) -> None:
        threading.Thread(target=self._wait, args=(trial_id,), daemon=True).start()

    def _wait(self, trial_id: str) -> None:
        try:
            self.results.put((trial_id, self.followers[trial_id].next_result()))
        except (CancelledError, KeyError):  # the search is over
            return

    def _hear(self, trial_id: str, result: dict[str, Any]) -> None:
        if result["done"]:
            self._end(trial_id, result)
            return
        number = self.followers[trial_id].number
        trial = SimpleNamespace(trial_id=trial_id, config={"number": number})
        if self.scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            self._end(trial_id, result)
        else:
            self.searcher.on_trial_result(trial_id, result)
            self._follow(trial_id)

    def _end(self, trial_id: str, result: dict[str, Any] | None) -> None:
        del self.followers[trial_id]
        self.searcher.on_trial_complete(trial_id, result)


@dataclass(frozen=True)
class InProcessExecutor:
    """Trains in threads of this process; see ``Executor``.

    Args:
        trials_at_once: slots.
        fault: what is to go wrong.
        memory: bytes of the node that stands for this process.
        memory_of: bytes that a trial takes of it.
    """

    trials_at_once: int = 2
    fault: Fault = lambda worker, number, moment: None
    memory: float = math.inf
    memory_of: Callable[[TrialConfig], int] = lambda config: 0

    @contextmanager
    def fleet(self, search: RunningSearch) -> Iterator[LocalFleet]:
        """As in ``Executor``."""
        experiment = search.record.experiment
        config = WorkerConfig(
            experiment.weights,
            experiment.search.objective,
            search.store,
            extensions_in_use(),
            storage_timeout_s=experiment.resources.storage_timeout_s,
        )
        fleet = LocalFleet(
            experiment,
            config,
            self.trials_at_once,
            self.fault,
            self.memory,
            self.memory_of,
            partial(search.troubles.now, "workers"),
        )
        fleet.start()
        try:
            yield fleet
        finally:
            fleet.end(pause=search.interrupt.is_set())

    def follow(
        self, search: RunningSearch, observers: list[Observer], fleet: LocalFleet, budget: Budget
    ) -> str:
        """As in ``Executor``."""
        scheduler = StudyScheduler(bookkeeper_of(search, observers, fleet))
        stopper = SearchStopper(search.interrupt, budget, fleet)
        searcher = StudySearcher(scheduler, fleet, search.store.place)
        LocalTune(searcher, scheduler, fleet).run(stopper)
        return stopper.reason or stopper.last
