"""A warm worker group: Ray Train runs on one node, one after another, started by the driver."""

import itertools
import threading
import time
import traceback
from typing import Any

from pyarrow.fs import LocalFileSystem
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from dann_search.errors import RunError
from dann_search.search.causes import blamed, first_line, is_of_memory, is_of_the_node
from dann_search.search.messages import ActorCalls, Health, RunHealth
from dann_search.search.nodes import NODE_ID, Node, all_but, ask_node, live_nodes
from dann_search.search.ray_private import free_abandoned_placement_groups
from dann_search.search.resources import Plan, oom_kills
from dann_search.search.worker import worker_loop
from dann_search.search.worker_config import GroupConfig, GroupSpec

QUICK_FAILURE_S, MAX_QUICK_FAILURES = 60.0, 3
"""Runs that end with an error so soon, before an epoch, so often in a row, end their group."""
NEEDLESS = (DatasetsCallback, PlacementGroupCleanerCallback)
"""What starts an actor that a run can do without."""


class WorkerGroup:
    """Keeps a Train run alive from a thread of the driver, and starts a fresh one after it.

    Args:
        spec: what all groups share.
        plan: its slots.
        name: of its runs.
        node: all of its workers are on; None lets Ray place them, on several nodes if need be.
        avoided: nodes they are not placed on.
    """

    def __init__(
        self,
        spec: GroupSpec,
        plan: Plan,
        *,
        name: str,
        node: Node | None,
        avoided: frozenset[str] = frozenset(),
    ):
        self.spec, self.plan, self.name, self.node = spec, plan, name, node
        self.labels = all_but(avoided) if node is None else {NODE_ID: node.id}
        self.closing = False
        self.error: str | None = None
        self.lacks_something = False
        """Whether ``error`` is of one node, which is known."""
        self.run = ""
        """Name of the present run."""
        self._thread = threading.Thread(target=self._keep_up, daemon=True, name=f"group-{name}")

    def start(self) -> None:
        """Start the first run; return at once."""
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether no run is left of it and none will be."""
        return not self._thread.is_alive()

    def join(self, timeout_s: float) -> bool:
        """Wait for the last run to end, after the dispatcher was closed; return whether it has."""
        self._thread.join(timeout_s)
        return self.has_ended

    def _keep_up(self) -> None:
        failures = 0
        for generation in itertools.count():
            self.run, begun = f"{self.name}-{generation}", time.monotonic()
            try:
                self._run()
            except Exception as exc:
                if self.closing:
                    return
                # Train restarts workers by itself; this is its controller that gave up.
                traceback.print_exc()
                self.spec.dispatcher.ask("workers_died", self.run, {})
                free_abandoned_placement_groups()  # of a controller that was killed
                health = self._health()
                if health and health.has_trained:  # it could start, and was lost later
                    failures = 0
                else:
                    failures = failures + 1 if time.monotonic() - begun < QUICK_FAILURE_S else 1
                if failures == MAX_QUICK_FAILURES:
                    self.error = f"workers could not be started: {first_line(exc)}"
                    return
            if self.closing or self._is_over():
                return

    def _is_over(self) -> bool:
        """Return whether the run was ended for good, rather than worn out or lost."""
        health = self._health()
        if health and health.error:
            self.error, self.lacks_something = health.error, True
        gone = self.node is not None and self.node.id not in {node.id for node in live_nodes()}
        return gone or (health is not None and health.over)

    def _health(self) -> RunHealth | None:
        known: Health = self.spec.dispatcher.ask("health")
        return known.runs.get(self.run)

    def _run(self) -> None:
        spec, plan = self.spec, self.plan
        group = GroupConfig(self.run, spec.dispatcher, plan, spec.worker)
        LeanTrainer(
            worker_loop,
            train_loop_config={"group": group},
            backend_config=backend_of(plan.workers_per_trial),
            scaling_config=ScalingConfig(
                num_workers=plan.slots * plan.workers_per_trial,
                use_gpu=plan.gpus_per_worker > 0,
                resources_per_worker=plan.worker_resources,
                label_selector=self.labels or None,
            ),
            run_config=RunConfig(
                name=self.run,
                storage_path=str(spec.logs),
                storage_filesystem=LocalFileSystem(),  # a path is no URL: see ``tune_run``
                # Workers that die are started again; a node that does not come back is not.
                failure_config=FailureConfig(max_failures=-1, controller_failure_limit=0),
                callbacks=[_Blame(self.run, spec.dispatcher, plan.workers_per_trial, self.node)],
            ),
        ).fit()


class _Blame(UserCallback):
    """Tells the dispatcher whose worker failed; the others of the run restart without blame."""

    def __init__(self, run: str, dispatcher: ActorCalls, workers: int, node: Node | None):
        self.run, self.dispatcher, self.workers, self.node = run, dispatcher, workers, node

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Report failed workers; the run's controller calls this before it restarts the group.

        Raises:
            RunError: the search is over, or its node is gone. The run ends now: no worker can start
            again there, and Train would wait a minute for one.
        """
        if self.dispatcher.ask("is_closed"):
            raise RunError("the search is over")
        slots = blamed(worker_exceptions, self.workers)
        short = {r // self.workers for r, exc in worker_exceptions.items() if is_of_memory(exc)}
        kills = None
        if slots and self.node is not None and not short:
            # The kernel's kill looks like any other sudden death: its own count tells.
            kills = int(ask_node(self.node.id, oom_kills, 0.0))
        self.dispatcher.ask("workers_died", self.run, slots, sorted(short), kills)
        if self.node is not None and any(map(is_of_the_node, worker_exceptions.values())):
            raise RunError(f"node {self.node.name} is gone")


def backend_of(workers_per_trial: int) -> BackendConfig:
    """Return how the workers of a run are connected; not at all where each has its own trials."""
    if workers_per_trial == 1:
        return Alone()
    from ray.train.torch import TorchConfig

    # Control only: it never touches a GPU, so slots may share one.
    return TorchConfig(backend="gloo")


class LeanTrainer(DataParallelTrainer):
    """Starts a controller and workers, and nothing else that can be done without.

    Ray's ``TorchTrainer`` imports torch in the driver and in the run's controller. It starts an
    actor for data sets where there are none, one that asks an autoscaler for what ``Placement``
    asks for, and one that frees the CPUs of a controller that was killed, for which the workers
    wait: ``free_abandoned_placement_groups`` does that. Its base class is for developers; what is
    overridden here is not public. Checked with Ray 2.60.
    """

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        kept = [one for one in parts["callbacks"] if not isinstance(one, NEEDLESS)]
        policy = UnregisteredPolicy(self.scaling_config)
        changed = parts | {"callbacks": kept, "scaling_policy": policy}
        return super()._initialize_and_run_controller(**changed)


class UnregisteredPolicy(FixedScalingPolicy):
    """As many workers as were asked for, of which no autoscaler is told."""

    def _maybe_send_resource_request(self) -> None:
        pass

    _send_resource_request = _cancel_resource_request = _maybe_send_resource_request


class Alone(BackendConfig):
    """Workers that need no connection."""

    @property
    def backend_cls(self) -> type[Backend]:
        """Set up nothing."""
        return _Alone


class _Alone(Backend):
    share_cuda_visible_devices = True
    """As torch's backend has it: see ``worker._own_device``."""
