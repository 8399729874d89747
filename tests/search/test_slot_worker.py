"""What a slot's worker tells the dispatcher of its trial, without training one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from dann_search.data.node_store import StoreSpec
from dann_search.search.messages import Order
from dann_search.search.slot_worker import Seat, SlotWorker, WorkerConfig
from dann_search.search.trial_folder import TrialFolder
from dann_search.search.watchdog import Watchdog
from dann_search.storage.outages import Outages
from dann_search.training.ranks import ALONE

SLOT = ("run", 0)


class Told:
    """A dispatcher that only listens."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def ask(self, method: str, *arguments: Any) -> Any:
        self.calls.append((method, *arguments))

    def tell(self, method: str, *arguments: Any) -> None:
        self.ask(method, *arguments)


class Worker(SlotWorker):
    """Trains no epoch: its trial meets what ``meets`` does first."""

    def __init__(self, told: Told, meets: Callable[["Worker"], None]):
        quiet = cast(Watchdog, SimpleNamespace(beat=lambda: None, rest=lambda: None))
        config = WorkerConfig({}, "f1_macro", cast(StoreSpec, None))
        super().__init__(config, Seat(SLOT, ALONE, ALONE, torch.device("cpu"), "node"), told, quiet)
        self.meets = meets

    def _epochs(self, order: Order, folder: TrialFolder, outages: Outages) -> Iterator[Any]:
        self.meets(self)
        return iter(())


def pauses(worker: Worker) -> None:
    worker.is_paused = True


def fails(worker: Worker) -> None:
    raise ValueError("a fault on purpose")


@pytest.mark.parametrize(
    ("meets", "told"),
    [
        (lambda worker: None, ("finished", SLOT, 7, None)),
        (pauses, ("paused", SLOT)),  # another slot goes on with it
        (fails, ("finished", SLOT, 7, "ValueError: a fault on purpose")),
    ],
    ids=["done", "paused", "failed"],
)
def test_how_a_trial_ended_is_told(
    tmp_path: Path, meets: Callable[[Worker], None], told: tuple[Any, ...]
) -> None:
    dispatcher = Told()
    Worker(dispatcher, meets).train(Order(7, {}, str(tmp_path), "data"))
    assert dispatcher.calls == [told]
