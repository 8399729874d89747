"""Slots that are threads of this process, with their dispatcher beside them."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any, cast

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.search.dispatcher import DispatcherState
from dann_search.search.messages import Order, Slot
from dann_search.search.slot_worker import Seat, SlotWorker, WorkerConfig
from dann_search.search.trial_folder import TrialFolder
from dann_search.search.watchdog import Watchdog
from dann_search.storage.outages import Outages

NODE = "this process"

Fault = Callable[["LocalWorker", int, str], None]
"""Called with a worker, the number of its trial and a moment; raises what is to go wrong then.

Moments: ``begin``, a trial begins; ``step``, a step was made; ``saved``, an epoch is saved and not
yet reported; ``verdict``, in a thread beside the training: it is known whether training goes on.
"""
LOOK_S = 0.05
"""Seconds between two signs of life of the workers, and two looks at who is silent."""


class WorkerDied(BaseException):
    """Ends a worker as the death of its process would; no handler of errors sees it."""


class KilledForMemory(WorkerDied):
    """Ends a worker as Ray's memory monitor would."""


class _Replaced(BaseException):
    """Ends a worker whose run was restarted meanwhile; no handler of errors sees it."""


class LocalDispatcher:
    """The dispatcher on a thread of this process."""

    def __init__(self, max_worker_deaths: int, trials_per_group: int):
        self.state = DispatcherState(max_worker_deaths, trials_per_group)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dispatcher")
        self._thread.start()

    def ask(self, method: str, *arguments: Any) -> Any:
        """As in ``DispatcherCalls``; raises CancelledError once it is stopped."""
        return self._call(method, *arguments).result()

    def tell(self, method: str, *arguments: Any) -> None:
        """As in ``DispatcherCalls``."""
        self._call(method, *arguments)

    def _call(self, method: str, *arguments: Any) -> Any:
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
    """Threads that train as the slots of one node do; all of them start anew when one dies.

    The node has ``memory`` bytes, of which a trial takes what ``memory_of`` says.
    """

    def __init__(
        self,
        experiment: ExperimentConfig,
        config: WorkerConfig,
        slots: int,
        fault: Fault,
        memory: float = math.inf,
        memory_of: Callable[[TrialConfig], int] = lambda config: 0,
        troubles: Callable[[Collection[str]], None] = lambda lines: None,
    ):
        self.resources, self.slots = experiment.resources, slots
        self._memory_of, self._troubles = memory_of, troubles
        self.config, self.fault = config, fault
        self.wanted, self.gpus_per_worker = 0, 0.0
        self.error: str | None = None
        self.training = threading.Lock()
        """Held while an epoch is trained."""
        self.dispatcher = LocalDispatcher(
            self.resources.max_worker_deaths, self.resources.trials_per_group
        )
        if math.isfinite(memory):
            self.dispatcher.ask("has_memory", NODE, memory)
        self.generation = 0
        """Of the threads; those of an earlier one do nothing any more."""
        self._run, self._at_work = 0, 0
        self._changing = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._workers: list[LocalWorker] = []
        self._ended = threading.Event()
        self._looker = threading.Thread(target=self._look, daemon=True, name="looker")
        self._looker.start()

    def _look(self) -> None:
        """Do what the watchdogs and the fleet do beside the training."""
        while not self._ended.wait(LOOK_S):
            for worker in list(self._workers):
                if worker.generation == self.generation and not worker.is_frozen:
                    self.dispatcher.ask("alive", worker.seat.slot, 0)
            for worker in self.dispatcher.ask("end_silent", self.resources.stall_timeout_s):
                worker.is_ended = True
                self.restart(worker.generation, {worker.seat.slot[1]: "ended"})

    def start(self) -> None:
        """Start a thread for each slot."""
        self._at_work = self.slots
        for number in range(self.slots):
            slot = f"run-{self._run}", number
            worker = LocalWorker(self, slot, self.generation)
            self._workers.append(worker)
            thread = threading.Thread(target=self._work, args=(worker,), name=f"slot-{number}")
            self._threads.append(thread)
            thread.start()

    def _work(self, worker: "LocalWorker") -> None:
        run, number = worker.seat.slot
        try:
            if self.dispatcher.ask("enter", run, NODE):
                self.dispatcher.ask("seated", worker.seat.slot, 0, worker)
                worker.run()
                self.dispatcher.ask("left", worker.seat.slot, 0)
        except (_Replaced, CancelledError):
            return
        except BaseException as exc:
            said = str(exc) if isinstance(exc, WorkerDied) else f"{type(exc).__name__}: {exc}"
            short = [number] if isinstance(exc, KilledForMemory) else []
            self.restart(worker.generation, {number: said}, for_memory=short)
        else:
            self._leave(worker.generation)

    def restart(
        self,
        generation: int,
        blamed: dict[int, str],
        *,
        for_memory: Sequence[int] = (),
        new_run: bool = False,
    ) -> None:
        """Begin anew with all slots, as Ray Train does when a worker died.

        Args:
            generation: of the worker that died; nothing is done where that one was replaced.
            blamed: why, by the slot's number; none where the whole node was lost.
            for_memory: those of them that were killed for memory.
            new_run: as on another node.
        """
        with self._changing:
            if generation != self.generation or self.dispatcher.state.closed:
                return
            self.generation += 1
            self.dispatcher.ask("workers_died", f"run-{self._run}", blamed, for_memory)
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

    def look(self) -> None:
        """Pass on what the slots wait for."""
        self._troubles(list(self.dispatcher.state.troubles.values()))

    def memory_of(self, config: TrialConfig) -> tuple[int, str]:
        """As in ``SearchFleet``."""
        return self._memory_of(config), f"batch_size {config.batch_size} of {config.backbone}"

    def withdraw(self, number: int) -> None:
        """As in ``SearchFleet``."""
        self.dispatcher.tell("withdraw", number)

    def has_lost_dispatcher(self) -> bool:
        """As in ``SearchFleet``: it is in this process."""
        return False

    def close(self, *, pause: bool) -> None:
        """As in ``SearchFleet``."""
        self.dispatcher.ask("close", pause)

    def end(self, *, pause: bool) -> None:
        """Wait until all that trains has ended."""
        self.close(pause=pause)
        for thread in self._threads:
            thread.join()
        self._ended.set()
        self._looker.join()
        self.dispatcher.stop()


class LocalWorker(SlotWorker):
    """A worker in a thread. It ends when its run is restarted, unless it was cut off."""

    def __init__(self, fleet: LocalFleet, slot: Slot, generation: int):
        import torch

        from dann_search.training.ranks import ALONE

        seat = Seat(slot, ALONE, ALONE, torch.device("cpu"), NODE)
        quiet = SimpleNamespace(beat=self._beat, rest=self._rest, on_storage=nullcontext)
        watchdog = cast(Watchdog, quiet)
        super().__init__(fleet.config, seat, self, watchdog)
        self.fleet, self.generation = fleet, generation
        self.is_cut_off = False
        """Whether it goes on, unknown to the fleet, as on a node that the network has lost."""
        self.is_frozen = self.is_ended = False
        self.is_waiting = False
        """Whether it waits for something else than its own training."""
        self._number: int | None = None

    def freeze(self) -> None:
        """Do nothing more, as a process that was stopped, until it is ended."""
        self.is_frozen = True
        while not self.is_ended:
            time.sleep(LOOK_S)
        raise _Replaced

    def cut_off(self) -> None:
        """Have the fleet lose this worker's node, while the worker itself goes on."""
        self.is_cut_off = True
        self.fleet.restart(self.generation, {}, new_run=True)

    def _await_pause(self) -> None:
        with suppress(_Replaced):
            super()._await_pause()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call the dispatcher, unless the worker has been replaced meanwhile."""
        self._check()
        answer = self.fleet.dispatcher.ask(method, *arguments)
        if method == "report":
            self.fleet.fault(self, arguments[1], "verdict")
        self._check()
        return answer

    def tell(self, method: str, *arguments: Any) -> None:
        """As in ``DispatcherCalls``."""
        self.fleet.dispatcher.tell(method, *arguments)

    def _check(self) -> None:
        if self.generation != self.fleet.generation and not self.is_cut_off:
            raise _Replaced

    def _rest(self) -> None:
        self.is_waiting = True

    def _beat(self) -> None:
        self.is_waiting = False
        self._check()
        if self._number is not None:
            self.fleet.fault(self, self._number, "step")

    def _clear(self) -> None:
        """Leave memory to the process: what `gc.freeze` keeps, open files too, is never freed."""

    def _epochs(self, order: Order, folder: TrialFolder, outages: Outages) -> Iterator[Any]:
        """Train one epoch after another, each while no other thread trains."""
        self.fleet.fault(self, order.number, "begin")
        epochs = super()._epochs(order, folder, outages)
        while True:
            with self.fleet.training:
                self._check()
                self._number = order.number
                try:
                    history = next(epochs, None)
                finally:
                    self._number = None
            if history is None:
                return
            self.fleet.fault(self, order.number, "saved")
            yield history
