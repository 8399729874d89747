"""How many trials train at once on a node, and what each worker takes of it."""

import contextlib
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
MEMORY_SHARE = 0.95
"""Of its memory a node fills so much at most: above that Ray's memory monitor kills workers."""
SEARCH_BYTES = GIB
"""Of Ray itself, the driver and Ray Train's controllers, on the node that has them."""
LIGHT_BYTES = GIB // 8
"""Of the light trial that follows each slot."""


@dataclass(frozen=True)
class Need:
    """Memory that the largest trial of a search takes at its peak, by estimate.

    Attributes:
        what: the recipe in words: ``vgg16``.
        memory: bytes of the machine, for each of its workers.
        gpu_memory: bytes of the GPU, likewise; 0 without one.
    """

    what: str
    memory: int
    gpu_memory: int = 0


def room_for_trials(memory: float) -> float:
    """Return how many bytes trials may take of what a node has for workers."""
    return max(0.0, memory * MEMORY_SHARE - SEARCH_BYTES)


def gigabytes(amount: float) -> str:
    """Return bytes in words: ``6.6 GB``."""
    return f"{amount / 1e9:.1f} GB"


def counted(count: int, noun: str) -> str:
    """Return a number of things in words: ``1 slot``, ``2 slots``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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
    memory: float = math.inf,
    where: str = "this machine",
    need: Need | None = None,
    gpu_memory: float = math.inf,
    most: float = math.inf,
) -> Plan:
    """Fill a machine with slots.

    Where ``max_parallel_trials`` is ``auto`` there are no more slots than its memory holds of the
    largest trial, and at least one; CPUs that are left go to the slots as further threads.

    Args:
        config: what a trial takes.
        cpus: of the machine.
        gpus: of the machine.
        memory: of the machine, in bytes.
        where: how messages call it.
        need: of the largest trial, where it is known; ``memory_per_worker_gib`` takes its place.
        gpu_memory: of each GPU, in bytes.
        most: slots that are wanted.

    Raises:
        InputError: not even one trial fits.
    """
    wanted, workers = config.gpus_per_worker, config.workers_per_trial
    share = float(min(gpus, 1) if wanted == "auto" else wanted)
    threads, each = config.cpus_per_worker, (config.memory_per_worker_gib or 0.0) * GIB
    fits = _fitting(config, share, cpus, gpus, memory, where)
    if config.max_parallel_trials != "auto":
        fits = min(fits, config.max_parallel_trials)
    elif need is not None and not each:
        share = _share(share, need.gpu_memory, gpu_memory)
        if share:
            fits = min(fits, _in_shares(gpus, share) / (workers * share) + 1e-9)
        held = _held(need, workers, memory)
        if held < int(fits):
            fits = held
            if not share:
                threads = max(threads, int(cpus / (held * workers)))
    return Plan(int(min(fits, most)), workers, threads, share, each)


def _fitting(
    config: ResourcesConfig, share: float, cpus: float, gpus: float, memory: float, where: str
) -> float:
    """Return how many trials find their CPUs, shares of GPUs and reserved memory."""
    workers, fits = config.workers_per_trial, math.inf
    if 0 < share < 1 and workers > 1:
        raise SettingError(
            ("resources", "gpus_per_worker"),
            "below 1 it needs workers_per_trial: 1 (two workers of a trial cannot share a GPU)",
        )
    for key, needed, there, unit in (
        ("cpus_per_worker", config.cpus_per_worker, cpus, "CPUs"),
        ("gpus_per_worker", share, _in_shares(gpus, share), "GPUs"),
        ("memory_per_worker_gib", config.memory_per_worker_gib, memory / GIB, "GiB of memory"),
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
    return fits


def _held(need: Need, workers: int, memory: float) -> float:
    """How many of the largest trials a machine's memory holds; at least one is tried."""
    each = workers * need.memory + LIGHT_BYTES
    return max(1.0, room_for_trials(memory) // each)


def _share(share: float, needed: int, memory: float) -> float:
    """Return the share of a GPU that a worker gets: so large that those on it find room."""
    if not 0 < share < 1 or not needed or math.isinf(memory):
        return share
    return max(share, 1 / max(1, memory * MEMORY_SHARE // needed))


def _in_shares(gpus: float, share: float) -> float:
    """Return how much of the GPUs workers can take when each needs ``share`` of a single one."""
    if not 0 < share < 1 or math.isinf(gpus):
        return gpus
    whole, rest = divmod(gpus, 1.0)
    return share * (whole * int(1 / share + 1e-9) + int(rest / share + 1e-9))


def explain_plan(config: ResourcesConfig, plan: Plan, need: Need | None, memory: float) -> str:
    """Say how many trials a machine trains at once, and what of its memory they need."""
    threads = counted(plan.workers_per_trial * plan.cpus_per_worker, "thread")
    line = f"{counted(plan.slots, 'slot')} of {threads}"
    if gpus := plan.workers_per_trial * plan.gpus_per_worker:
        line += f" and {gpus:.3g} GPU{'s' if gpus > 1 else ''}"
    if need is None:
        return line
    trial = plan.workers_per_trial * need.memory
    line += f": a trial of {need.what} needs up to {gigabytes(trial)}"
    if need.gpu_memory:
        line += f", and {gigabytes(need.gpu_memory)} of a GPU"
    if math.isinf(memory):
        return line
    room = room_for_trials(memory)
    line += f", and there are {gigabytes(room)} for trials"
    if config.memory_per_worker_gib is not None or plan.slots * trial <= room:
        return line
    if plan.slots == 1:
        return f"{line}; it may be killed: lower batch_size, data.image_size or unfrozen_depth"
    return (
        f"{line}; {plan.slots} of them (resources.max_parallel_trials) need "
        f"{gigabytes(plan.slots * trial)}: those that do not fit wait, smaller ones go first"
    )


def _remedy(config: ResourcesConfig) -> str:
    remedy = "; lower workers_per_trial or cpus_per_worker"
    if config.workers_per_trial == 1:
        return remedy
    elsewhere = "name the cluster on whose nodes they fit: --address"
    return f"{remedy}, or {elsewhere if config.across_nodes else 'set across_nodes'}"


def cpu_count() -> int:
    """CPUs this process may use: affinity and the container's quota, whichever is less."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = affinity or 1
    with contextlib.suppress(OSError, ValueError):  # no container, no quota, or not Linux
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def oom_kills() -> int:
    """Return how many processes this machine's kernel has killed since its start, for memory."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0  # not Linux
    counts = dict(line.split() for line in lines)
    return int(counts.get("oom_kill", 0))
