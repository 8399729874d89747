"""How many trials train at once on a node, and what each worker takes of it."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dann_search.config.experiment import ResourcesConfig
from dann_search.config.source import SettingError

CPU_SHARE = 0.95
"""Of its CPUs a worker reserves so much: the rest carries the light trials (0.001 each)."""
GIB = 2**30


@dataclass(frozen=True)
class Plan:
    """Slots of ``workers_per_trial`` workers, each with so many CPUs (torch threads) and GPUs."""

    slots: int
    workers_per_trial: int
    cpus_per_worker: int
    gpus_per_worker: float
    memory_per_worker: float = 0.0
    """Bytes; 0 reserves none."""

    def slots_in(self, free: Mapping[str, float]) -> int:
        """How many of the slots find room in what is free of a machine."""
        there = {**free, "GPU": _in_shares(free.get("GPU", 0.0), self.gpus_per_worker)}
        fits = (
            there.get(name, 0.0) / (amount * self.workers_per_trial)
            for name, amount in self.worker_resources.items()
        )
        return min(self.slots, int(min(fits) + 1e-9))

    @property
    def worker_resources(self) -> dict[str, float]:
        """As Ray Train takes them."""
        resources = {"CPU": self.cpus_per_worker * CPU_SHARE}
        if self.gpus_per_worker:
            resources["GPU"] = self.gpus_per_worker
        if self.memory_per_worker:
            resources["memory"] = self.memory_per_worker
        return resources


def make_plan(
    config: ResourcesConfig,
    cpus: float,
    gpus: float,
    memory: float = float("inf"),
    where: str = "this machine",
) -> Plan:
    """Fill a machine with slots.

    Args:
        config: what a trial takes.
        cpus: of the machine.
        gpus: of the machine.
        memory: of the machine, in bytes.
        where: how messages call it.

    Raises:
        InputError: not even one trial fits.
    """
    wanted = config.gpus_per_worker
    gpus_per_worker = float(min(gpus, 1) if wanted == "auto" else wanted)
    workers = config.workers_per_trial
    each = (config.memory_per_worker_gib or 0.0) * GIB
    if 0 < gpus_per_worker < 1 and workers > 1:
        raise SettingError(
            ("resources", "gpus_per_worker"),
            "below 1 it needs workers_per_trial: 1 (two workers of a trial cannot share a GPU)",
        )
    fits = float("inf")
    for key, needed, there, unit in (
        ("cpus_per_worker", config.cpus_per_worker, cpus, "CPUs"),
        ("gpus_per_worker", gpus_per_worker, _in_shares(gpus, gpus_per_worker), "GPUs"),
        ("memory_per_worker_gib", each / GIB, memory / GIB, "GiB of memory"),
    ):
        if not needed:
            continue
        fits = min(fits, there / (workers * needed) + 1e-9)
        if fits < 1:
            raise SettingError(
                ("resources", "workers_per_trial" if unit == "CPUs" and workers > needed else key),
                f"a trial of {workers} workers with {needed:g} {unit} each needs "
                f"{workers * needed:g} {unit}, {where} has {there:.3g}"
                + (_remedy(config) if unit == "CPUs" else ""),
            )
    if config.max_parallel_trials != "auto":
        fits = min(fits, config.max_parallel_trials)
    return Plan(int(fits), workers, config.cpus_per_worker, gpus_per_worker, each)


def _in_shares(gpus: float, share: float) -> float:
    """Return how much of the GPUs workers can take when each needs ``share`` of a single one."""
    if not 0 < share < 1 or math.isinf(gpus):
        return gpus
    whole, rest = divmod(gpus, 1.0)
    return share * (whole * int(1 / share + 1e-9) + int(rest / share + 1e-9))


def _remedy(config: ResourcesConfig) -> str:
    remedy = "; lower workers_per_trial or cpus_per_worker"
    return remedy if config.workers_per_trial == 1 else f"{remedy}, or set across_nodes"


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
