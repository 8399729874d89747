"""The dispatcher and its warm worker group, for as long as there are trainings."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from dann_search.config.experiment import Experiment
from dann_search.search.dispatcher import Dispatcher
from dann_search.search.resources import make_plan
from dann_search.search.worker_group import WorkerGroup


@contextmanager
def running_group(experiment: Experiment, logs: Path) -> Iterator[tuple[Any, WorkerGroup]]:
    """A dispatcher and a group that fills the cluster with slots; both end with the block.

    Raises:
        InputError: not even one trial fits.
    """
    resources = experiment.resources
    capacity = ray.cluster_resources()
    plan = make_plan(resources, capacity.get("CPU", 0), capacity.get("GPU", 0))
    dispatcher = Dispatcher.remote(resources.max_worker_deaths, resources.trials_per_group)
    group = WorkerGroup(
        dispatcher,
        plan,
        name=f"group-{int(time.time())}",
        weights=experiment.weights,
        objective=experiment.search.objective,
        stall_timeout_s=resources.stall_timeout_s,
        storage=logs,
    )
    group.start()
    try:
        yield dispatcher, group
    finally:
        group.closing = True
        ray.get(dispatcher.close.remote())
        group.join(60)
        ray.kill(dispatcher)
