"""Dispatcher and fleet, for as long as there are trainings."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from dann_search.config.experiment import Experiment
from dann_search.data.node_store import StoreSpec
from dann_search.search.dispatcher import Dispatcher
from dann_search.search.fleet import Fleet, cluster_has_gpus, running_fleet_name
from dann_search.search.nodes import NODE_ID, own_node
from dann_search.search.slot_worker import WorkerConfig
from dann_search.search.worker_group import GroupSpec

LAST_WORDS_S = 60.0
"""What workers have, beyond their stall timeout, to save and leave."""


@contextmanager
def running_fleet(
    experiment: Experiment,
    *,
    store: StoreSpec,
    logs: Path,
    elastic: bool,
    wanted: int,
    interrupt: threading.Event,
    tell: Callable[[str], None],
) -> Iterator[Fleet]:
    """A dispatcher and worker groups on all nodes that fit; all of it ends with the block.

    Trials that still run at the end of the block are saved: after their epoch, or after their step
    where the user has interrupted.

    Args:
        experiment: what a trial takes, its weights and objective.
        store: the experiment's packed store; trainings may name others, which all nodes see.
        logs: folder of Ray's logs.
        elastic: whether the cluster is one that nodes may join.
        wanted: trials that could run at once if there were room.
        interrupt: set by Ctrl-C.
        tell: told in a line what happens to nodes.
    """
    resources = experiment.resources
    if resources.gpus_per_worker == "auto":
        gpus = 1.0 if cluster_has_gpus() else 0.0
        resources = resources.model_copy(update={"gpus_per_worker": gpus})
    here = {NODE_ID: own_node()}  # not on a node that may vanish
    dispatcher = Dispatcher.options(label_selector=here).remote(
        resources.max_worker_deaths, resources.trials_per_group
    )
    spec = GroupSpec(
        dispatcher=dispatcher,
        worker=WorkerConfig(experiment.weights, experiment.search.objective, store),
        stall_timeout_s=resources.stall_timeout_s,
        logs=logs,
    )
    name = running_fleet_name()
    fleet = Fleet(spec, resources, name=name, elastic=elastic, wanted=wanted, tell=tell)
    fleet.start()
    try:
        yield fleet
    finally:
        _end(fleet, resources.stall_timeout_s, interrupt)
        ray.kill(dispatcher)


def _end(fleet: Fleet, stall_timeout_s: float, interrupt: threading.Event) -> None:
    paused = interrupt.is_set()
    fleet.close(pause=paused)
    until = time.monotonic() + stall_timeout_s + LAST_WORDS_S
    while not fleet.join(1.0) and time.monotonic() < until:
        if interrupt.is_set() and not paused:
            paused = True
            fleet.close(pause=True)
