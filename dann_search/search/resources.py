"""How many trials train at once, and what each worker takes, on the machine there is."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from dann_search.config.experiment import ResourcesConfig
from dann_search.config.source import SettingError

CPU_SHARE = 0.95
"""Of its CPUs a worker reserves so much: the rest carries the light trials (0.001 each)."""


@dataclass(frozen=True)
class Plan:
    """Slots of ``workers_per_trial`` workers, each with so many CPUs (torch threads) and GPUs."""

    slots: int
    workers_per_trial: int
    cpus_per_worker: int
    gpus_per_worker: float

    @property
    def worker_resources(self) -> dict[str, float]:
        """As Ray Train takes them."""
        resources = {"CPU": self.cpus_per_worker * CPU_SHARE}
        if self.gpus_per_worker:
            resources["GPU"] = self.gpus_per_worker
        return resources


def make_plan(config: ResourcesConfig, cpus: float, gpus: float) -> Plan:
    """Fill the machine with slots.

    Raises:
        InputError: not even one trial fits.
    """
    wanted = config.gpus_per_worker
    gpus_per_worker = float(min(gpus, 1) if wanted == "auto" else wanted)
    workers = config.workers_per_trial
    fits = int(cpus // (workers * config.cpus_per_worker))
    if fits < 1:
        key = "cpus_per_worker" if config.cpus_per_worker > workers else "workers_per_trial"
        raise SettingError(
            ("resources", key),
            f"a trial of {workers} workers with {config.cpus_per_worker} CPUs each "
            f"needs {workers * config.cpus_per_worker} CPUs, this machine has {cpus:g}; "
            "lower workers_per_trial or cpus_per_worker",
        )
    if gpus_per_worker:
        if gpus_per_worker < 1 and workers > 1:
            raise SettingError(
                ("resources", "gpus_per_worker"),
                "below 1 it needs workers_per_trial: 1 (two workers of a trial cannot share a GPU)",
            )
        fits = int(min(fits, gpus / (workers * gpus_per_worker) + 1e-9))
        if fits < 1:
            raise SettingError(
                ("resources", "gpus_per_worker"),
                f"a trial of {workers} workers with {gpus_per_worker:g} GPUs each needs "
                f"{workers * gpus_per_worker:g} GPUs, this machine has {gpus:g}",
            )
    if config.max_parallel_trials != "auto":
        fits = min(fits, config.max_parallel_trials)
    return Plan(fits, workers, config.cpus_per_worker, gpus_per_worker)


def cpu_count() -> int:
    """CPUs this process may use: affinity and the container's quota, whichever is less."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = affinity or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # No such control group: not a container, or not Linux.
    return count


def gpu_count() -> float:
    """GPUs that a Ray started here would offer, counted its way but without starting it."""
    try:
        from ray._private.accelerators import get_accelerator_manager_for_resource

        manager = get_accelerator_manager_for_resource("GPU")
        count: int = manager.get_current_node_num_accelerators()
        visible = manager.get_current_process_visible_accelerator_ids()
    except (ImportError, AttributeError):  # no public interface: without it, Ray will say itself
        return math.inf
    return count if visible is None else min(count, len(visible))
