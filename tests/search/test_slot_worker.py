"""What a slot's worker tells the dispatcher of its trial, without training one."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from dann_search.data.node_store import StoreSpec
from dann_search.search.messages import Order
from dann_search.search.slot_worker import SlotWorker
from dann_search.search.trial_folder import TrialFolder
from dann_search.search.watchdog import Watchdog
from dann_search.search.worker_config import Seat, WorkerConfig
from dann_search.storage.outages import Outages
from dann_search.training.ranks import ALONE

SLOT = ("run", 0)


class Told:
    """A dispatcher that only listens."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.wants = False

    def ask(self, method: str, *arguments: Any) -> Any:
        self.calls.append((method, *arguments))
        return self.wants

    def tell(self, method: str, *arguments: Any) -> None:
        self.ask(method, *arguments)


class Worker(SlotWorker):
    """Trains no epoch: its trial meets what ``meets`` does first."""

    def __init__(self, told: Told, meets: Callable[["Worker"], None]):
        quiet = SimpleNamespace(beat=self._beats, rest=self._rests, on_storage=self._on_storage)
        self.watched: str | None = None
        """What the watchdog waits for."""
        config = WorkerConfig({}, "f1_macro", cast(StoreSpec, None))
        watchdog = cast(Watchdog, quiet)
        super().__init__(
            config, Seat(SLOT, ALONE, ALONE, torch.device("cpu"), "node"), told, watchdog
        )
        self.meets = meets

    def _beats(self) -> None:
        self.watched = "a step"

    def _rests(self) -> None:
        self.watched = None

    @contextmanager
    def _on_storage(self) -> Iterator[None]:
        self.watched = "storage"
        yield
        self.watched = None

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
        (pauses, ("paused", SLOT)),  # another slot continues with it
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


def test_storage_that_does_not_answer_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(Told(), pauses)
    seen = []

    def call(folder: TrialFolder, names: object) -> Path:
        seen.append((names, worker.watched))
        return folder.local

    monkeypatch.setattr(TrialFolder, "open", call)
    monkeypatch.setattr(TrialFolder, "keep", call)
    worker._begin(TrialFolder(str(tmp_path)))
    assert worker.watched == "a step"
    worker.train(Order(7, {}, str(tmp_path), "data"))
    brought = ("last.safetensors", "previous.safetensors", "best.safetensors")
    watched = (brought, "best.safetensors", "last.safetensors")
    assert seen == [(names, "storage") for names in watched]
    assert worker.watched is None


def test_a_trial_begins_without_what_a_killed_worker_left_half_written(tmp_path: Path) -> None:
    for name in ("last.safetensors", ".last.safetensors.14380"):
        (tmp_path / name).touch()
    Worker(Told(), pauses)._begin(TrialFolder(str(tmp_path)))
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


def test_a_trial_whose_error_cannot_be_written_still_tells_it(tmp_path: Path) -> None:
    dispatcher = Told()
    Worker(dispatcher, fails).train(Order(7, {}, str(tmp_path / "gone"), "data"))
    assert dispatcher.calls == [("finished", SLOT, 7, "ValueError: a fault on purpose")]


def test_a_disk_that_stays_full_fails_no_trial_but_sets_the_node_aside(tmp_path: Path) -> None:
    def full(worker: Worker) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    dispatcher = Told()
    dispatcher.wants = True
    worker = Worker(dispatcher, full)
    worker.config = replace(worker.config, storage_timeout_s=0.01)
    worker.train(Order(7, {}, str(tmp_path), "data"))
    told = [call for call in dispatcher.calls if call[0] not in ("wants", "trouble")]
    assert told[0][:3] == ("cannot_train", "run", "node")
    assert str(told[0][3]).startswith("No space left on device (waited")
    assert told[1:] == [("paused", SLOT)]
