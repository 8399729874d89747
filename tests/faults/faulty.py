"""Searches in this process that meet faults: workers that die, freeze, or lack memory."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.search.executor import Work
from dann_search.search.in_process import (
    NODE,
    InProcessExecutor,
    LocalFleet,
    LocalWorker,
    Replaced,
)
from dann_search.search.messages import Order, Slot
from dann_search.search.trial_folder import TrialFolder
from dann_search.storage.outages import Outages

Fault = Callable[["FaultyWorker", int, str], None]
"""Called with a worker, the number of its trial and a moment; raises what is to go wrong then.

Moments: ``begin``, a trial begins; ``step``, a step was made; ``saved``, an epoch is saved and not
yet reported; ``verdict``, in a thread beside the training: it is known whether training goes on.
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
        """Whether it goes on, unknown to the fleet, as on a node that the network has lost."""
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
        """Have the fleet lose this worker's node, while the worker itself goes on."""
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
