"""The memory that a search's trials take, and how many of them a machine therefore trains at once.

Torch is imported with the first estimate.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from dann_search.config.data import DataConfig
from dann_search.config.experiment import ExperimentConfig, ResourcesConfig
from dann_search.config.extensions import METHODS
from dann_search.config.parameter import Choice
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models.registry import spec_of
from dann_search.search.ray_private import free_memory, local_gpu_count
from dann_search.search.ray_session import OBJECT_STORE_BYTES
from dann_search.search.resources import (
    GIB,
    Need,
    Plan,
    cpu_count,
    explain_plan,
    gigabytes,
    make_plan,
)

Estimated = TypeVar("Estimated")

CLASSES = 100
"""For estimates: a classifier is small, whatever it tells apart."""
CLUSTER = "each node trains as many trials at once as its CPUs, GPUs and memory allow"
RISING: dict[str, tuple[str, ...]] = {
    "precision": ("bf16", "fp16", "fp32"),
    "optimizer": ("sgd", "adamw"),
    "fine_tuning": ("lora", "stages"),
    "batch_norm": ("frozen", "separate", "joint", "domain"),
}
"""Choices in the order of the memory they take."""


class TrialMemory:
    """Estimates of trials' peaks.

    Args:
        resources: what a trial takes; ``gpus_per_worker`` as resolved.
        data: gives the side at which networks see images; each backbone's own if it states none.
    """

    def __init__(self, resources: ResourcesConfig, data: DataConfig):
        self.resources, self.side = resources, data.crop_size or data.image_size
        self.few = data.target.labels is not None

    def of(self, config: TrialConfig) -> tuple[int, str]:
        """Return bytes of a trial's workers together, 0 where unknown, and its recipe in words."""
        need = self._need(config)
        if need is None:
            return 0, config.backbone
        return need.memory * self.resources.workers_per_trial, need.what

    def largest(self, configs: Iterable[TrialConfig]) -> Need | None:
        """Return what the largest of some recipes takes; None where nothing is known."""
        needs = [need for config in configs if (need := self._need(config))]
        return max(needs, key=lambda need: (need.gpu_memory, need.memory), default=None)

    def _need(self, config: TrialConfig) -> Need | None:
        from dann_search.training.memory import peak_of

        resources, side = self.resources, self.side or spec_of(config.backbone).image_size
        peak = estimated(
            "memory",
            lambda: peak_of(
                config,
                classes=CLASSES,
                side=side,
                workers=resources.workers_per_trial,
                gpu=resources.gpus_per_worker != 0,
                few=self.few,
            ),
        )
        if peak is None:  # its trials are planned by CPUs alone
            return None
        memory = peak.machine
        if resources.memory_per_worker_gib is not None:
            memory = int(resources.memory_per_worker_gib * GIB)
        what = f"{config.backbone} at {side} px with batch_size {config.batch_size}"
        return Need(what, memory, peak.gpu)


def estimated(what: str, estimate: Callable[[], Estimated]) -> Estimated | None:
    """Return an estimate; None where it fails, as that of a user's backbone that needs data."""
    try:
        return estimate()
    except Exception:
        logging.getLogger(__name__).debug("no estimate of %s", what, exc_info=True)
        return None


def largest_recipes(space: Space) -> list[TrialConfig]:
    """Return, for each backbone of a space, the recipe that takes the most memory."""
    from dann_search.training.memory import MATTERS

    names = space.parameters.keys() & set(MATTERS) - {"backbone"}
    recipes = (
        space.fixed.model_copy(
            update={
                "backbone": one,
                **{name: max(ends(space, name, one), key=partial(_rank, name)) for name in names},
            }
        )
        for one in space.backbones
    )
    return [space.settled(one) for one in recipes]


def ends(space: Space, name: str, backbone: str) -> Sequence[Any]:
    """Return low and high of a range for a backbone, every value of a choice, or the fixed one."""
    parameter = space.parameters.get(name)
    if parameter is None:
        return [getattr(space.fixed, name)]
    return parameter.choice if isinstance(parameter, Choice) else space.bounds(name, backbone)


def _rank(name: str, value: Any) -> Any:
    if name == "method":
        one = METHODS[value]
        return one.adapts, one.strong_views, one.target_labels != "unused", bool(one.discriminator)
    known = RISING.get(name)
    if known is None:
        return value
    return known.index(value) if value in known else len(known)


def plan_here(experiment: ExperimentConfig, space: Space, address: str = "local") -> str:
    """Say how many trials train at once on this machine, or what one takes of a cluster's nodes.

    Raises:
        InputError: not even one trial fits this machine.
    """
    resources = experiment.resources
    if address == "local":
        resources, plan, need, memory = local_plan(experiment, space)
        line = explain_plan(resources, plan, need, memory)
        return line if need else f"{line}; what memory a trial needs is not known"
    if resources.gpus_per_worker == "auto":
        return CLUSTER
    need = TrialMemory(resources, experiment.data).largest(largest_recipes(space))
    if need is None:
        return CLUSTER
    trial = gigabytes(need.memory * resources.workers_per_trial)
    return f"{CLUSTER}; a trial of {need.what} needs up to {trial}"


def local_plan(
    experiment: ExperimentConfig, space: Space
) -> tuple[ResourcesConfig, Plan, Need | None, float]:
    """Return what a trial takes, this machine's slots, the largest trial's need, bytes of memory.

    Raises:
        InputError: not even one trial fits this machine.
    """
    resources, gpus = experiment.resources, local_gpu_count()
    if resources.gpus_per_worker == "auto":
        resources = resources.model_copy(update={"gpus_per_worker": float(0 < gpus < math.inf)})
    need = TrialMemory(resources, experiment.data).largest(largest_recipes(space))
    memory = free_memory() - OBJECT_STORE_BYTES
    return resources, make_plan(resources, cpu_count(), gpus, memory, need=need), need, memory


def planned(experiment: ExperimentConfig, space: Space) -> str:
    """As ``plan_here``; on a machine that no trial fits, why not."""
    try:
        return plan_here(experiment, space)
    except InputError as exc:
        return str(exc)
