"""A warm worker group: Ray Train runs on one node, one after another, started by the driver."""

import itertools
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback

from dann_search.errors import RunError
from dann_search.search.messages import ActorCalls, Health
from dann_search.search.nodes import NODE_ID, Node, all_but, ask_node, live_nodes
from dann_search.search.ray_private import free_abandoned_placement_groups
from dann_search.search.resources import Plan, oom_kills
from dann_search.search.slot_worker import WorkerConfig, is_of_a_peer
from dann_search.search.worker import GroupConfig, worker_loop

QUICK_FAILURE_S, MAX_QUICK_FAILURES = 60.0, 3
"""A run that ends with an error sooner than this, so often in a row, ends its group."""

NODE_DIED = ("its node has died", "the actor's node was ", "Worker exit type: NODE_DIED")
"""What Ray says of an actor that was lost with its node."""
OUT_OF_MEMORY = "due to the node running low on memory"
"""What it says of one that it killed itself; Train wraps its error, too."""


@dataclass(frozen=True)
class GroupSpec:
    """What all groups of a search share."""

    dispatcher: ActorCalls
    worker: WorkerConfig
    stall_timeout_s: float
    logs: Path


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
                failures = failures + 1 if time.monotonic() - begun < QUICK_FAILURE_S else 1
                if failures == MAX_QUICK_FAILURES:
                    self.error = f"workers could not be started: {first_line(exc)}"
                    return
            if self.closing or self._is_over():
                return

    def _is_over(self) -> bool:
        """Return whether the run was ended for good, rather than worn out or lost."""
        known: Health = self.spec.dispatcher.ask("health")
        health = known.runs.get(self.run)
        if health and health.error:
            self.error, self.lacks_something = health.error, True
        gone = self.node is not None and self.node.id not in {node.id for node in live_nodes()}
        return gone or (health is not None and health.over)

    def _run(self) -> None:
        from pyarrow.fs import LocalFileSystem

        from dann_search.search.train_run import LeanTrainer, backend_of

        spec, plan = self.spec, self.plan
        group = GroupConfig(
            run=self.run,
            dispatcher=spec.dispatcher,
            slots=plan.slots,
            workers=plan.workers_per_trial,
            threads=plan.cpus_per_worker,
            use_gpu=plan.gpus_per_worker > 0,
            stall_timeout_s=spec.stall_timeout_s,
            worker=spec.worker,
        )
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


def blamed(exceptions: Mapping[int, Exception], workers: int) -> dict[int, str]:
    """Return which slots failed and why, from the errors by rank.

    A rank is not to blame if another one of its slot left it alone, unless nothing else is known.
    """
    others = {rank: exc for rank, exc in exceptions.items() if not is_of_the_node(exc)}
    alone = {rank: exc for rank, exc in others.items() if is_of_a_peer(exc)}
    causes = {rank: exc for rank, exc in others.items() if rank not in alone}
    known = causes if len(others) < len(exceptions) else {**alone, **causes}
    return {rank // workers: first_line(exc) for rank, exc in known.items()}


def is_of_the_node(exc: Exception) -> bool:
    """Return whether a worker was lost with its node.

    Train wraps Ray's error in its own, so that often only the text tells. Any mention of a node
    will not do: Ray's advice on a killed process has one too.
    """
    cause = getattr(exc, "preempted", False) or isinstance(exc, ray.exceptions.NodeDiedError)
    return cause or any(phrase in str(exc) for phrase in NODE_DIED)


def is_of_memory(exc: Exception) -> bool:
    """Return whether Ray's memory monitor has killed a worker as its node ran out of memory."""
    return isinstance(exc, ray.exceptions.OutOfMemoryError) or OUT_OF_MEMORY in str(exc)


def first_line(exc: Exception) -> str:
    """Return the first line of an exception's message, or its type."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0] if lines else type(exc).__name__
