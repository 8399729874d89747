"""Trains a search's trials in threads of this process, without Ray: for tests and for a debugger.

Dispatcher, workers, study, searcher and scheduler are those of a search on Ray; what differs is
that slots are threads, and that a loop of a few lines stands in for Ray Tune. One trial trains at a
time, as torch's random numbers are the process's.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from dann_search.config.trial import TrialConfig
from dann_search.search.causes import first_line, is_of_memory
from dann_search.search.dispatcher import DispatcherState
from dann_search.search.executor import RunningSearch, Work
from dann_search.search.messages import Order, Slot
from dann_search.search.slot_worker import SlotWorker
from dann_search.search.trial import TrialFollower
from dann_search.search.trial_folder import TrialFolder
from dann_search.search.tune_run import adapters
from dann_search.search.watchdog import Watchdog
from dann_search.search.worker_config import Seat, WorkerConfig
from dann_search.storage.outages import Outages
from dann_search.study.budget import Budget
from dann_search.tracking.observer import Observer

NODE = "this process"
LOOK_S = 0.02
"""Seconds between two looks at interrupts and budgets."""


class Replaced(BaseException):
    """Ends a worker whose run was restarted meanwhile; no handler of errors sees it."""


class LocalDispatcher:
    """The dispatcher on a thread of this process; calls are as in ``DispatcherCalls``."""

    def __init__(self, max_worker_deaths: int, trials_per_group: int):
        self.state = DispatcherState(max_worker_deaths, trials_per_group)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dispatcher")
        self._thread.start()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method and return what it returns; raise CancelledError once it is stopped."""
        return self.tell(method, *arguments).result()

    def tell(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method without waiting for it."""
        called = getattr(self.state, method)(*arguments)
        return asyncio.run_coroutine_threadsafe(called, self._loop)

    def stop(self) -> None:
        """End whatever still waits for an answer."""

        async def cancel_all() -> None:
            own = asyncio.current_task()
            waiting = [task for task in asyncio.all_tasks() if task is not own]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class LocalFleet:
    """Threads that train as the slots of one node do; all of them start anew when one dies."""

    def __init__(self, work: Work, slots: int):
        self.resources, self.slots = work.experiment.resources, slots
        self.wanted, self.gpus_per_worker = work.wanted, 0.0
        self.config = WorkerConfig.of(work.experiment, work.store)
        self.error: str | None = None
        self.training = threading.Lock()
        """Held while an epoch is trained."""
        self.dispatcher = LocalDispatcher(
            self.resources.max_worker_deaths, self.resources.trials_per_group
        )
        self.generation = 0
        """Of the threads; those of an earlier one do nothing any more."""
        self._run, self._at_work = 0, 0
        self._changing = threading.Lock()
        self._threads: list[threading.Thread] = []

    def worker(self, slot: Slot) -> "LocalWorker":
        """Make the worker of a slot."""
        return LocalWorker(self, slot)

    def start(self) -> None:
        """Start a thread for each slot."""
        self._at_work = self.slots
        for number in range(self.slots):
            worker = self.worker((f"run-{self._run}", number))
            thread = threading.Thread(target=self._work, args=(worker,), name=f"slot-{number}")
            self._threads.append(thread)
            thread.start()

    def _work(self, worker: "LocalWorker") -> None:
        run, number = worker.seat.slot
        try:
            if self.dispatcher.ask("enter", run, NODE):
                worker.run()
        except (Replaced, CancelledError):
            return
        except BaseException as exc:
            self.restart(worker.generation, {number: exc})
        else:
            self._leave(worker.generation)

    def restart(
        self, generation: int, died: Mapping[int, BaseException], new_run: bool = False
    ) -> None:
        """Begin anew with all slots, as Ray Train does when a worker died.

        Args:
            generation: of the worker that died; nothing is done where that one was replaced.
            died: of what, by the slot's number; none where the whole node was lost.
            new_run: as on another node.
        """
        with self._changing:
            if generation != self.generation or self.dispatcher.state.closed:
                return
            self.generation += 1
            blamed = {number: first_line(exc) for number, exc in died.items()}
            short = [number for number, exc in died.items() if is_of_memory(exc)]
            self.dispatcher.ask("workers_died", f"run-{self._run}", blamed, short)
            if new_run:
                self.dispatcher.ask("retire", f"run-{self._run}")
                self._run += 1
            self.start()

    def _leave(self, generation: int) -> None:
        """Start a fresh run once the last worker has returned, as a worker group does."""
        with self._changing:
            if generation != self.generation or self.dispatcher.state.closed:
                return
            self._at_work -= 1
            run = self.dispatcher.state.runs.by_name[f"run-{self._run}"]
            self.error = self.error or run.error
            if self._at_work == 0 and not self.error:
                self.generation += 1
                self._run += 1
                self.start()

    def memory_of(self, config: TrialConfig) -> tuple[int, str]:
        """As in ``SearchFleet``: not known."""
        return 0, ""

    def withdraw(self, number: int) -> None:
        """As in ``SearchFleet``."""
        self.dispatcher.tell("withdraw", number)

    def has_lost_dispatcher(self) -> bool:
        """As in ``SearchFleet``: it is in this process."""
        return False

    def close(self, *, pause: bool) -> None:
        """As in ``SearchFleet``."""
        self.dispatcher.ask("close", pause)

    def join(self) -> None:
        """Wait for the threads to end."""
        for thread in self._threads:
            thread.join()


class LocalWorker(SlotWorker):
    """A worker in a thread. It ends when its run is restarted."""

    def __init__(self, fleet: LocalFleet, slot: Slot):
        import torch

        from dann_search.training.ranks import ALONE

        seat = Seat(slot, ALONE, ALONE, torch.device("cpu"), NODE)
        quiet = SimpleNamespace(beat=self.beat, rest=self.rest, on_storage=nullcontext)
        super().__init__(fleet.config, seat, self, cast(Watchdog, quiet))
        self.fleet, self.generation = fleet, fleet.generation

    def prepare(self) -> bool:
        """Open the images while no other thread does: NumPy reads headers with ``ast``.

        CPython 3.11 counts its depth for all threads at once, and raises SystemError.
        """
        with self.fleet.training:
            return super().prepare()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call the dispatcher, unless the worker has been replaced meanwhile."""
        self.check()
        answer = self.fleet.dispatcher.ask(method, *arguments)
        self.check()
        return answer

    def tell(self, method: str, *arguments: Any) -> None:
        """As in ``DispatcherCalls``."""
        self.fleet.dispatcher.tell(method, *arguments)

    def check(self) -> None:
        """Raise ``Replaced`` if another worker has this one's place by now."""
        if self.generation != self.fleet.generation:
            raise Replaced

    def beat(self) -> None:
        """As in ``Watchdog``; nobody watches a thread."""
        self.check()

    def rest(self) -> None:
        """As in ``Watchdog``."""

    def _await_pause(self) -> None:
        with suppress(Replaced):
            super()._await_pause()

    def _clear(self) -> None:
        """Leave memory to the process: what `gc.freeze` keeps, open files too, is never freed."""

    def _epochs(self, order: Order, folder: TrialFolder, outages: Outages) -> Iterator[Any]:
        """Train one epoch after another, each while no other thread trains."""
        epochs = super()._epochs(order, folder, outages)
        while (history := self.next_epoch(order.number, epochs)) is not None:
            yield history

    def next_epoch(self, number: int, epochs: Iterator[Any]) -> Any:
        """Train a trial's next epoch; return None after the last."""
        with self.fleet.training:
            self.check()
            return next(epochs, None)


@dataclass(frozen=True)
class InProcessExecutor:
    """Trains in ``trials_at_once`` threads of this process; see ``Executor``."""

    trials_at_once: int = 2

    def make_fleet(self, work: Work) -> LocalFleet:
        """Make the slots."""
        return LocalFleet(work, self.trials_at_once)

    @contextmanager
    def fleet(self, work: Work) -> Iterator[LocalFleet]:
        """As in ``Executor``."""
        fleet = self.make_fleet(work)
        fleet.start()
        try:
            yield fleet
        finally:
            fleet.close(pause=work.interrupt.is_set())
            fleet.join()
            fleet.dispatcher.stop()

    def follow(
        self, search: RunningSearch, observers: list[Observer], fleet: LocalFleet, budget: Budget
    ) -> str:
        """As in ``Executor``; follow trials as Ray Tune does."""
        searcher, scheduler, stopper = adapters(search, observers, fleet, budget)
        followers: dict[str, TrialFollower] = {}
        updates: dict[Future[Any], str] = {}
        """What the next epochs come in, and the trial that they are of."""
        ids = map(str, itertools.count())
        next_id = next(ids)

        def follow(trial_id: str) -> None:
            one = followers[trial_id]
            updates[fleet.dispatcher.tell("epochs_after", one.number, one.seen)] = trial_id

        def hear(trial_id: str, result: dict[str, Any]) -> None:
            config = {"number": followers[trial_id].number}
            trial = SimpleNamespace(trial_id=trial_id, config=config)
            stop = TrialScheduler.STOP
            if result["done"] or scheduler.on_trial_result(None, trial, result) == stop:
                del followers[trial_id]
                searcher.on_trial_complete(trial_id, result)
            else:
                searcher.on_trial_result(trial_id, result)
                follow(trial_id)

        while not stopper.stop_all():
            search.troubles(list(fleet.dispatcher.state.troubles.values()))
            while isinstance(config := searcher.suggest(next_id), dict):
                followers[next_id] = TrialFollower(config, fleet.dispatcher)
                follow(next_id)
                next_id = next(ids)
            if config == Searcher.FINISHED and not followers:
                break
            if not updates:
                time.sleep(LOOK_S)
            done, _ = wait(updates, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            for update in done:
                trial_id = updates.pop(update)
                hear(trial_id, followers[trial_id].result_of(update.result()))
        for trial_id in followers:
            searcher.on_trial_complete(trial_id, None)
        return stopper.reason or stopper.last
