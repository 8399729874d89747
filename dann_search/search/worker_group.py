"""A warm worker group: one Ray Train run whose slots train one trial after another."""

import itertools
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback

from dann_search.config.experiment import WeightsFile
from dann_search.search.dispatcher import Order, Slot
from dann_search.search.resources import Plan
from dann_search.search.watchdog import Watchdog

FOREVER = timedelta(days=365)
"""Idle workers wait for their chief in a collective: no limit may end that. A dead peer does."""


QUICK_FAILURE_S, MAX_QUICK_FAILURES = 60.0, 3
"""A run that ends with an error sooner than this, so often in a row, ends the search."""


@dataclass(frozen=True)
class GroupConfig:
    """What every worker of a run is told."""

    run: str
    dispatcher: Any
    slots: int
    workers: int
    threads: int
    use_gpu: bool
    weights: Mapping[str, WeightsFile]
    objective: str
    stall_timeout_s: float


def worker_loop(loop_config: dict[str, GroupConfig]) -> None:
    """Every worker of a run: take a trial for its slot, train it, repeat."""
    import torch

    config = loop_config["group"]
    torch.set_num_threads(config.threads)
    worker = _join_slot(config)
    while (order := worker.next_trial()) is not None:
        worker.train(order)


def _join_slot(config: GroupConfig) -> "_Worker":
    import torch
    import torch.distributed as dist
    from ray import train

    from dann_search.training.ranks import Ranks

    rank, size = train.get_context().get_world_rank(), config.workers
    slot, place = divmod(rank, size)
    control = work = None
    if size > 1:
        # Every worker of the run must take part in making every group, its own or not.
        for number in range(config.slots):
            members = list(range(number * size, (number + 1) * size))
            made = dist.new_group(members, timeout=FOREVER, backend="gloo")
            worked = dist.new_group(members, backend="nccl") if config.use_gpu else made
            if number == slot:
                control, work = made, worked
    device = torch.device("cuda:0" if config.use_gpu else "cpu")
    return _Worker(
        config, (config.run, slot), Ranks(place, size, work), Ranks(place, size, control), device
    )


class _Worker:
    """One worker of a slot. The first, its chief, speaks with the dispatcher for all."""

    def __init__(self, config: GroupConfig, slot: Slot, ranks: Any, control: Any, device: Any):
        self.config, self.slot, self.ranks, self.control, self.device = (
            config, slot, ranks, control, device,
        )  # fmt: skip
        self.watchdog = Watchdog(config.stall_timeout_s)
        self.stores: dict[str, Any] = {}
        """Opened packed stores by folder."""

    def next_trial(self) -> Order | None:
        """The slot's next trial, the same on each of its workers."""
        return self._from_chief(partial(self._call, "next_trial"))

    def train(self, order: Order) -> None:
        """Train a trial to its end, its stop or its error."""
        from dann_search.config.trial import TrialConfig
        from dann_search.training.loop import train

        error = None
        self.watchdog.beat()
        try:
            folder = Path(order.folder)
            folder.mkdir(parents=True, exist_ok=True)
            epochs = train(
                TrialConfig(**order.config),
                self._opened(order.data),
                folder,
                device=self.device,
                ranks=self.ranks,
                weights=self.config.weights,
                objective=self.config.objective,
                on_begin=lambda: self._began(order),
                beat=self.watchdog.beat,
            )
            for history in epochs:
                self.watchdog.rest()
                told = tuple(asdict(result) for result in history)
                if not self._from_chief(partial(self._call, "report", order.number, told)):
                    break
                self.watchdog.beat()
        except Exception as exc:
            error = _describe(exc)
            self._write_error(order)
            if self.ranks.size > 1:
                # The others may wait in a collective: tell the dispatcher, then let Train restart
                # the group.
                self._call("finished", order.number, error)
                raise
        finally:
            self.watchdog.rest()
            self._clear()
        if self.ranks.is_chief:
            self._call("finished", order.number, error)

    def _opened(self, store: str) -> Any:
        from dann_search.data.training_data import open_training_data

        if store not in self.stores:
            self.stores[store] = open_training_data(Path(store))
        return self.stores[store]

    def _began(self, order: Order) -> None:
        self.watchdog.beat()
        if self.ranks.is_chief:
            self._call("began", order.number)

    def _call(self, method: str, *arguments: Any) -> Any:
        return ray.get(getattr(self.config.dispatcher, method).remote(self.slot, *arguments))

    def _from_chief(self, ask: Callable[[], Any]) -> Any:
        if self.ranks.size == 1:
            return ask()
        import torch.distributed as dist

        box = [ask() if self.ranks.is_chief else None]
        dist.broadcast_object_list(box, group=self.control.group, group_src=0)
        return box[0]

    def _write_error(self, order: Order) -> None:
        (Path(order.folder) / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")

    def _clear(self) -> None:
        """Leave nothing of a trial to the next."""
        import gc

        import torch

        gc.collect()
        # What is left belongs to torch and its like: the next collection need not look at it again
        # (240 ms each time, measured, against less than 1).
        gc.freeze()
        if self.config.use_gpu:
            torch.cuda.empty_cache()


def _describe(exc: Exception) -> str:
    from dann_search.errors import InputError, RunError

    return str(exc) if isinstance(exc, InputError | RunError) else f"{type(exc).__name__}: {exc}"


class _Blame(UserCallback):
    """Tells the dispatcher whose worker failed; the run's others restart without blame."""

    def __init__(self, run: str, dispatcher: Any, workers: int):
        self.run, self.dispatcher, self.workers = run, dispatcher, workers

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called by the run's controller before it restarts the group; ranks are the run's."""
        slots = {
            rank // self.workers: _first_line(exc)
            for rank, exc in sorted(worker_exceptions.items())
        }
        ray.get(self.dispatcher.workers_died.remote(self.run, slots))


def _first_line(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0] if lines else type(exc).__name__


class WorkerGroup:
    """Keeps one Train run alive from a thread of the driver, a fresh one when worn out."""

    def __init__(
        self,
        dispatcher: Any,
        plan: Plan,
        *,
        name: str,
        weights: Mapping[str, WeightsFile],
        objective: str,
        stall_timeout_s: float,
        storage: Path,
    ):
        self.dispatcher, self.plan, self.name, self.storage = dispatcher, plan, name, storage
        self.weights, self.objective = weights, objective
        self.stall_timeout_s = stall_timeout_s
        self.closing = False
        self.error: str | None = None
        self._thread = threading.Thread(
            target=self._keep_running, daemon=True, name=f"group-{name}"
        )

    def start(self) -> None:
        """Start the first run; returns at once."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the last run to end, after the dispatcher was closed; whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _keep_running(self) -> None:
        failures = 0
        for generation in itertools.count():
            if self.closing:
                return
            run, begun = f"{self.name}-{generation}", time.monotonic()
            try:
                self._run(run)
            except Exception as exc:
                # Train restarts workers by itself; this is its controller that was lost.
                traceback.print_exc()
                failures = failures + 1 if time.monotonic() - begun < QUICK_FAILURE_S else 1
                if failures == MAX_QUICK_FAILURES:
                    self.error = f"workers could not be started: {_first_line(exc)}"
                    return
                ray.get(self.dispatcher.workers_died.remote(run, {}))

    def _run(self, run: str) -> None:
        from ray.train.torch import TorchConfig, TorchTrainer

        plan = self.plan
        group = GroupConfig(
            run=run,
            dispatcher=self.dispatcher,
            slots=plan.slots,
            workers=plan.workers_per_trial,
            threads=plan.cpus_per_worker,
            use_gpu=plan.gpus_per_worker > 0,
            weights=self.weights,
            objective=self.objective,
            stall_timeout_s=self.stall_timeout_s,
        )
        TorchTrainer(
            worker_loop,
            train_loop_config={"group": group},
            # Control only: it never touches a GPU, so slots may share one.
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(
                num_workers=plan.slots * plan.workers_per_trial,
                use_gpu=plan.gpus_per_worker > 0,
                resources_per_worker=plan.worker_resources,
            ),
            run_config=RunConfig(
                name=run,
                storage_path=str(self.storage),
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[_Blame(run, self.dispatcher, plan.workers_per_trial)],
            ),
        ).fit()
