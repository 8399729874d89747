"""One worker of a slot: take a trial, train it, report to the dispatcher, take the next.

The worker does not know which process or thread it runs in.
"""

import contextlib
import ctypes
import gc
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_search.config.extension_files import use_extensions
from dann_search.config.trial import TrialConfig
from dann_search.data.node_store import store_here
from dann_search.errors import RunError
from dann_search.search.causes import described, is_of_a_peer, is_of_the_device
from dann_search.search.messages import DispatcherCalls, Order
from dann_search.search.own_entries import register_sent
from dann_search.search.reports import NotWantedError, Reports
from dann_search.search.trial_folder import TrialFolder
from dann_search.search.watchdog import Watchdog
from dann_search.search.worker_config import Seat, WorkerConfig
from dann_search.storage.atomic_file import remove_left
from dann_search.storage.outages import Outages, is_of_infrastructure

if TYPE_CHECKING:
    from dann_search.training.result import History

STATE = ("last.safetensors", "previous.safetensors", "best.safetensors")
"""Files of a trial that another node needs to continue with it."""
ERROR = "error.txt"


class SlotWorker:
    """One worker of a slot. The first, its chief, talks to the dispatcher for all of them."""

    def __init__(
        self, config: WorkerConfig, seat: Seat, dispatcher: DispatcherCalls, watchdog: Watchdog
    ):
        self.config, self.seat, self.ranks = config, seat, seat.ranks
        self.dispatcher, self.watchdog = dispatcher, watchdog
        self.stores: dict[str, Any] = {}
        """Opened packed stores, by the folder that orders call them by."""
        self.is_paused = False
        self.reports = Reports()
        self._to_pause = threading.Event()

    def run(self) -> None:
        """Train until the dispatcher has no more trials for the slot."""
        if self.ranks.is_chief:
            threading.Thread(target=self._await_pause, daemon=True, name="pause").start()
        if not self.prepare():
            return
        while (order := self.next_trial()) is not None:
            self.train(order)

    def _await_pause(self) -> None:
        try:
            if self.dispatcher.ask("until_paused", self.seat.slot[0]):
                self._to_pause.set()
        except Exception:  # the search is over, and this worker with it
            return

    def prepare(self) -> bool:
        """Bring the packed images here; return whether all workers of the slot have them."""
        error, host, own = None, socket.gethostname(), self.config.store
        # Nobody waits for an answer of ``packed``: packing continues meanwhile.
        packed = partial(self.dispatcher.tell, "packed", host)
        try:
            use_extensions(self.config.extensions)
            register_sent(self.config.own)
            self.stores[own.place] = self._opened(store_here(own, packed))
            for backbone, given in self.config.weights.items():
                if not given.file.is_file():
                    message = f"weights.{backbone}: no such file here: {given.file}"
                    raise FileNotFoundError(message)
        except Exception as exc:
            error = f"{host}: {described(exc)}"
            self.dispatcher.ask("cannot_train", self.seat.slot[0], self.seat.node, error)
        return not self.seat.control.any_(error is not None)

    def _opened(self, folder: Path) -> Any:
        from dann_search.data.training_data import open_training_data

        return open_training_data(folder, self.config.store.data.feature_limit_gib)

    def next_trial(self) -> Order | None:
        """Return the slot's next trial, the same on each of its workers."""
        return self._from_chief(partial(self._call, "next_trial"))

    def train(self, order: Order) -> None:
        """Train a trial until it is done, stopped, paused or failed."""
        from dann_search.training.predict import is_out_of_memory

        error, ended = None, "finished"
        folder = TrialFolder(order.folder, self.ranks.rank)
        outages = self._outages(order)
        self.reports = Reports()
        self.watchdog.beat()
        try:
            # What fails where it is not waited for, as in reading images, trains again from the
            # last checkpoint.
            outages.hold(partial(self._train, order, folder, outages))
        except Exception as exc:
            if self.ranks.size > 1 and is_of_a_peer(exc):
                raise  # Another worker of the slot is gone: it is to blame, or its node.
            if is_of_infrastructure(exc):
                self._leave_unfinished(order, folder, exc)
                return
            error = described(exc)
            self._write_error(folder)
            if is_out_of_memory(exc):
                ended = "lacked_memory"  # perhaps because of what else was there
            if is_of_the_device(exc):
                raise  # The process is no good any more: blamed as a death of the worker.
            if self.ranks.size > 1:
                # The others may wait in a collective: tell the dispatcher, then let Train restart
                # the group.
                self._call(ended, order.number, error)
                raise
        finally:
            self.watchdog.rest()
            self._clear()
        folder.leave()
        if not self.ranks.is_chief:
            return
        if self.is_paused and error is None:
            self._call("paused")
        else:
            self._call(ended, order.number, error)

    def _train(self, order: Order, folder: TrialFolder, outages: Outages) -> None:
        try:
            self._await_verdict()  # of an attempt before this one
            for history in self._epochs(order, folder, outages):
                if self.ranks.is_chief:
                    told = tuple(asdict(result) for result in history)
                    self.reports.send(
                        partial(outages.hold, partial(self._keep, folder)),
                        partial(self._call, "report", order.number, told),
                    )
            self._await_verdict()
        except NotWantedError:
            self.is_paused = False  # it is over: what was to be paused is the epoch after
            return
        except Exception:
            # An error in an epoch that comes after the trial was stopped does not count, either.
            # Of several workers one may be alone with it: there the dispatcher sees to that.
            if self.ranks.size == 1 and not self.reports.settle():
                return
            raise
        if self.is_paused:
            self.watchdog.rest()
            self._keep(folder)

    def _await_verdict(self) -> None:
        """Wait until the trial may continue past the epochs reported so far.

        Raises:
            NotWantedError: on each worker of the slot, if it may not.
        """
        self.watchdog.rest()
        if not self._from_chief(self.reports.settle):
            raise NotWantedError
        self.watchdog.beat()

    def _outages(self, order: Order) -> Outages:
        """Make what waits for storage while the trial is wanted here."""

        def trouble(line: str | None) -> None:
            self.watchdog.rest()  # the wait has a limit of its own
            if line is not None:
                with contextlib.suppress(OSError):  # the worker's log may be on the same disk
                    traceback.print_exc()
            self.dispatcher.tell("trouble", self.seat.slot, line)

        return Outages(self.config.storage_timeout_s, trouble, partial(self._is_wanted, order))

    def _is_wanted(self, order: Order) -> bool:
        return not self._to_pause.is_set() and self._call("wants", order.number)

    def _leave_unfinished(self, order: Order, folder: TrialFolder, exc: Exception) -> None:
        """Give a trial back that storage, not its own fault, has kept from continuing.

        Raises:
            Exception: the one given, where other workers of the slot wait for this one.
        """
        if self._is_wanted(order):
            run = self.seat.slot[0]
            self.dispatcher.ask("cannot_train", run, self.seat.node, described(exc))
        folder.leave()
        if self.ranks.is_chief:
            self._call("paused")
        if self.ranks.size > 1:
            raise exc

    def _epochs(self, order: Order, folder: TrialFolder, outages: Outages) -> "Iterator[History]":
        from dann_search.training.hooks import Hooks
        from dann_search.training.loop import train

        if order.data not in self.stores:  # of a training, which lies where all nodes see it
            self.stores[order.data] = self._opened(Path(order.data))
        return train(
            TrialConfig(**order.config),
            self.stores[order.data],
            outages.hold(partial(self._begin, folder)),
            device=self.seat.device,
            ranks=self.ranks,
            weights=self.config.weights,
            objective=self.config.objective,
            hooks=Hooks(
                on_begin=partial(self._began, order),
                beat=self.watchdog.beat,
                pause=self._pause,
                settle=self._await_verdict,
                keep=outages.hold,
            ),
        )

    def _pause(self) -> bool:
        """Return whether to pause after this step, the same on each worker of the slot.

        Raises:
            NotWantedError: the trial was stopped before this epoch.
        """
        if not self.seat.control.any_(self._to_pause.is_set() or self.reports.is_stop):
            return False
        self._await_verdict()
        self.is_paused = True
        return True

    def _begin(self, folder: TrialFolder) -> Path:
        """Bring the trial's files here, without the error of an earlier attempt."""
        if self.ranks.is_chief:
            folder.discard(ERROR)
            remove_left(folder.local)  # by a worker that was killed while it wrote
        self.watchdog.rest()
        with self.watchdog.on_storage():
            folder.open(STATE)
        self.watchdog.beat()
        return folder.local

    def _keep(self, folder: TrialFolder) -> None:
        """Bring the trial's checkpoints to storage."""
        if self.ranks.is_chief:
            # The best first: what continues from the last one makes it again if it must.
            for name in ("best.safetensors", "last.safetensors"):
                with self.watchdog.on_storage():
                    folder.keep(name)

    def _began(self, order: Order) -> None:
        self.watchdog.beat()
        if self.ranks.is_chief:
            self._call("began", order.number)

    def _call(self, method: str, *arguments: Any) -> Any:
        return self.dispatcher.ask(method, self.seat.slot, *arguments)

    def _from_chief(self, ask: Callable[[], Any]) -> Any:
        if self.ranks.size == 1:
            return ask()
        import torch.distributed as dist

        box = [ask() if self.ranks.is_chief else None]
        dist.broadcast_object_list(box, group=self.seat.control.group, group_src=0)
        return box[0]

    def _write_error(self, folder: TrialFolder) -> None:
        with contextlib.suppress(OSError, RunError):  # the trial's own error is told in any case
            print(text := traceback.format_exc(), file=sys.stderr)
            (folder.local / ERROR).write_text(text, encoding="utf-8")
            folder.keep(ERROR)

    def _clear(self) -> None:
        """Leave nothing of a trial to the next."""
        import torch

        gc.collect()
        # What is left belongs to torch and its like: the next collection need not look at it again
        # (240 ms each time, measured, against less than 1).
        gc.freeze()
        _give_back_heap()
        if self.seat.device.type == "cuda":
            torch.cuda.empty_cache()


def _give_back_heap() -> None:
    """Return what was freed to the system: glibc keeps it, and an idle slot would hold a step's."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
