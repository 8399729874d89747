"""The workers of a slot stop and pause at the same step, though only the chief knows of it."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from dann_search.data.node_store import StoreSpec
from dann_search.search.messages import Order
from dann_search.search.slot_worker import SlotWorker
from dann_search.search.watchdog import Watchdog
from dann_search.search.worker_config import Seat, WorkerConfig
from dann_search.training.ranks import Ranks
from dann_search.training.result import EpochResult

STEPS = 4


class Dispatcher:
    """Stops the trial after its second epoch, or never."""

    def __init__(self, stops: bool):
        self.stops, self.calls = stops, list[str]()

    def ask(self, method: str, *arguments: Any) -> Any:
        self.calls.append(method)
        return not self.stops or method != "report" or len(arguments[-1]) < 2

    def tell(self, method: str, *arguments: Any) -> None:
        self.ask(method, *arguments)


class Worker(SlotWorker):
    """Its chief knows of the end by the second step of the third epoch."""

    at = 0, 0

    def _epochs(self, *_: Any) -> Iterator[Any]:
        history: tuple[EpochResult, ...] = ()
        for epoch in range(1, 5):
            for step in range(1, STEPS + 1):
                self.at = epoch, step
                if self.at == (3, 2) and self.ranks.is_chief:
                    self._learn()
                if step < STEPS and self._pause():
                    return
            self._await_verdict()
            history += (cast(Any, EpochResult)(epoch, *[0.0] * 12),)
            yield history

    def _learn(self) -> None:
        if not cast(Dispatcher, self.dispatcher).stops:
            self._to_pause.set()
        while not (self._to_pause.is_set() or self.reports.is_stop):
            time.sleep(0.01)


def work(rank: int, folder: str, stops: bool) -> None:
    meeting = f"file://{folder}/meeting-point"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    ranks = Ranks(rank, 2, dist.group.WORLD)
    quiet = SimpleNamespace(beat=lambda: None, rest=lambda: None, on_storage=nullcontext)
    worker = Worker(
        WorkerConfig({}, "f1_macro", cast(StoreSpec, None)),
        Seat(("run", 0), ranks, ranks, torch.device("cpu"), "node"),
        dispatcher := Dispatcher(stops),
        cast(Watchdog, quiet),
    )
    worker.train(Order(7, {}, folder, "data"))
    told = [*worker.at, worker.is_paused, dispatcher.calls]
    Path(folder, f"{rank}.json").write_text(json.dumps(told))
    dist.barrier()
    os._exit(0)  # as in tests/training/test_ranks.py


@pytest.mark.parametrize(
    ("stops", "told"),
    [(True, ["report", "report", "finished"]), (False, ["report", "report", "paused"])],
    ids=["stopped", "paused"],
)
def test_all_workers_of_a_slot_end_at_the_same_step(
    tmp_path: Path, stops: bool, told: list[str]
) -> None:
    cast(Callable[..., Any], spawn)(work, (str(tmp_path), stops), nprocs=2)
    chief, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    step = chief[1]
    assert step in ((1, 2) if stops else (2,))  # a verdict may be known before it is waited for
    assert chief == [3, step, not stops, told]
    assert other == [3, step, not stops, []]
