"""What a search will take: hours, from training steps timed here; memory of a slot, and disk.

Torch is imported with the first estimate.
"""

import math
import time
from collections import defaultdict
from dataclasses import dataclass

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.extensions import AUGMENTATIONS
from dann_search.config.grid import combinations
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.data.open_domain import open_pair
from dann_search.data.splits import split_domain
from dann_search.data.store import StoreInfo
from dann_search.models.registry import largest_native_size, spec_of
from dann_search.outputs.space import Estimate, MeasuredSteps
from dann_search.results.lines import summary
from dann_search.search.disk_need import disk_need
from dann_search.search.resources import Plan
from dann_search.search.trial_memory import estimated, local_plan
from dann_search.storage.remote_folder import cache_folder
from dann_search.study.explain import sampled
from dann_search.study.pruning import expected_epochs

SAMPLES = 200
"""Recipes of the space whose mean cost is estimated."""
LOW, HIGH = 0.7, 1.8
"""Ends of the range, as shares of the estimate: machines drift, and pruning varies by search."""
START_S = 15.0
"""Seconds to start Ray and to write the results."""
DAY_H = 24.0
GB = 1e9


@dataclass(frozen=True)
class Effort:
    """How much to spend on an estimate.

    Attributes:
        seconds: of steps for each kind of recipe.
        by_depth: whether each unfrozen depth is timed, or a middle one for each backbone.
        most_s: seconds after which no further kind of recipe is timed.
    """

    seconds: float = 1.0
    by_depth: bool = True
    most_s: float = math.inf


THOROUGH = Effort()
BRIEF = Effort(seconds=0.2, by_depth=False, most_s=1.5)
"""What a launch can wait for."""


def images_of(experiment: ExperimentConfig, space: Space) -> StoreInfo:
    """Open the data of an experiment that is not packed yet; count the images of its splits.

    Raises:
        InputError: the data cannot be opened or divided.
    """
    data = experiment.data
    pair = open_pair(data, cache_folder())
    splits = {
        role: split_domain(domain, data.splits_of(role)) for role, domain in pair.by_role.items()
    }
    return StoreInfo(
        class_names=list(pair.source.class_names),
        image_size=data.image_size or largest_native_size(space.backbones),
        fixed_size=data.image_size is not None,
        crop_size=data.crop_size,
        domains={role: domain.name for role, domain in pair.by_role.items()},
        sizes={
            role: {split: len(rows) for split, rows in parts.items()}
            for role, parts in splits.items()
        },
        hashes={},
        duplicates=0,
    )


def estimate(
    experiment: ExperimentConfig, space: Space, info: StoreInfo, effort: Effort = THOROUGH
) -> Estimate:
    """Estimate what a search takes on this machine.

    Raises:
        InputError: not even one trial fits this machine.
    """
    _, plan, need, _ = local_plan(experiment, space)
    search, epochs = experiment.search, space.fixed.epochs
    trials = min(search.trials, combinations(space) or search.trials)
    kinds = _measured(experiment, space, info, plan, effort, trials)
    epoch_s = sum(one.share * one.epoch_s for one in kinds) / sum(one.share for one in kinds)
    kept_s = sum(one.kept_s for one in kinds) / sum(one.share for one in kinds)
    mean = expected_epochs(search.scheduler, epochs, trials)
    confirm = search.confirm
    again = confirm.top * confirm.seeds * epochs if confirm else 0
    slots = min(plan.slots, trials)
    # At the end slots wait for the trials of others, half of a whole one on average.
    tail = epochs * (slots - 1) / (2 * slots)
    seconds = START_S + kept_s + epoch_s * ((trials * mean + again) / slots + tail)
    disk = disk_need(experiment, space)
    packed = sum(map(sum, (one.values() for one in info.sizes.values()))) * 3 * info.image_size**2
    left = disk.left + disk.training * slots if disk else None
    low, high = LOW * seconds / 3600, HIGH * seconds / 3600
    return Estimate(
        hours_low=low,
        hours_high=high,
        slots=slots,
        trials=trials,
        epochs=epochs,
        epochs_mean=round(mean, 2),
        memory_gb=need.memory * plan.workers_per_trial / GB if need else None,
        disk_gb=None if left is None else (packed + left) / GB,
        measured=kinds,
        advice=_advice(experiment, kinds, high),
    )


def brief_line(experiment: ExperimentConfig, space: Space, info: StoreInfo) -> str | None:
    """Say in a line what a search takes, from a second of steps; None where it cannot be known."""
    return estimated("the search", lambda: summary(estimate(experiment, space, info, BRIEF)))


def _measured(
    experiment: ExperimentConfig,
    space: Space,
    info: StoreInfo,
    plan: Plan,
    effort: Effort,
    trials: int,
) -> list[MeasuredSteps]:
    """Time a recipe of each kind; of the kinds for which time is left, at least one."""
    kinds: dict[tuple[str, int | None], list[TrialConfig]] = defaultdict(list)
    for recipe in sampled(experiment, space, SAMPLES):
        depth = recipe.unfrozen_depth if effort.by_depth else None
        kinds[recipe.backbone, depth].append(recipe)
    total = sum(map(len, kinds.values()))
    found: list[MeasuredSteps] = []
    begun, keeps_features = time.monotonic(), experiment.data.feature_limit_gib > 0
    for (_, depth), recipes in sorted(kinds.items(), key=lambda kind: str(kind[0])):
        if found and time.monotonic() - begun >= effort.most_s:
            break
        share = len(recipes) / total
        of_kind = max(1, round(share * trials))
        one = _of_kind(recipes, info, plan, effort.seconds, keeps_features, of_kind)
        found.append(one.model_copy(update={"unfrozen_depth": depth, "share": share}))
    return found


def _of_kind(
    recipes: list[TrialConfig],
    info: StoreInfo,
    plan: Plan,
    seconds: float,
    keeps_features: bool,
    trials: int,
) -> MeasuredSteps:
    """Time the middle one of some recipes; those that differ in images a step cost accordingly.

    So many trials of the search have one of them.
    """
    import torch

    from dann_search.data.batches import steps_per_epoch
    from dann_search.training.speed import measured

    recipe = sorted(recipes, key=lambda one: (one.unfrozen_depth or 0, _images(one)))[
        len(recipes) // 2
    ]
    device = torch.device("cuda" if plan.gpus_per_worker else "cpu")
    rows = math.ceil(recipe.batch_size / plan.workers_per_trial)
    mine = recipe.model_copy(update={"batch_size": rows})
    speed = measured(mine, info, seconds, plan.cpus_per_worker, device, keeps_features)
    each = speed.step / _images(recipe)
    sizes = info.sizes
    steps = [
        steps_per_epoch(sizes["source"]["train"], sizes["target"]["train"], one.batch_size)
        * _images(one)
        for one in recipes
    ]
    validated = sizes["source"].get("val", 0) + sizes["target"].get("val", 0)
    validation = speed.image * validated / plan.workers_per_trial
    return MeasuredSteps(
        backbone=recipe.backbone,
        unfrozen_depth=recipe.unfrozen_depth,
        side=info.side_seen(spec_of(recipe.backbone).image_size),
        share=1.0,
        step_s=speed.step,
        epoch_s=each * sum(steps) / len(steps) + validation,
        kept_s=_kept_s(recipes, info, speed.frozen, plan.slots, trials) if speed.frozen else 0.0,
    )


def _kept_s(
    recipes: list[TrialConfig], info: StoreInfo, each: float, slots: int, trials: int
) -> float:
    """Return the seconds in which trials compute what frozen stages make of images, once a view.

    Trials with the same views share them. ``each`` is the time of an image.
    """
    from dann_search.training.frozen_stages import are_kept, images_seen

    sizes = info.sizes
    validated = sizes["source"].get("val", 0) + sizes["target"].get("val", 0)
    images: dict[tuple[float, ...], int] = {}
    drawn = recipes[:trials]
    for one in drawn:
        spec = spec_of(one.backbone)
        if are_kept(one, info.side_seen(spec.image_size), len(spec.stages)):
            splits = sizes["source"]["train"], sizes["target"]["train"], validated
            images[_views_of(one)] = images_seen(one, *splits)
    # Of more trials than were drawn, each has views of its own where all of these do.
    more = trials / len(drawn) if len(images) == len(drawn) else 1.0
    return each * sum(images.values()) * more / max(1, min(slots, len(images)))


def _views_of(recipe: TrialConfig) -> tuple[float, ...]:
    """Return what decides which views a recipe shows of images, and what is made of them."""
    depth, amounts = recipe.unfrozen_depth or 0, tuple[float, ...]()
    if recipe.views > 1:
        amounts = tuple(float(getattr(recipe, name)) for name in AUGMENTATIONS)
        amounts += (recipe.target_augmentation,)
    return (recipe.views, depth, *amounts)


def _images(recipe: TrialConfig) -> int:
    """Return images of a step."""
    return recipe.batch_size * (1 + recipe.adapts + recipe.strong_views)


def _advice(experiment: ExperimentConfig, kinds: list[MeasuredSteps], hours: float) -> list[str]:
    """Say what would help where a search may take more than a day, or than its budget."""
    budget = experiment.search.budget.hours
    if hours <= (budget or DAY_H):
        return []
    found = []
    if budget:
        found.append(f"search.budget.hours ends it after {budget:g} h, with fewer trials")
    by_time = sorted(kinds, key=lambda one: one.epoch_s)
    cheapest, dearest = by_time[0], by_time[-1]
    shallow = next(one for one in by_time if one.backbone == dearest.backbone)
    if shallow.epoch_s < 0.8 * dearest.epoch_s:
        found.append(
            f"unfrozen_depth {shallow.unfrozen_depth}: an epoch of {dearest.backbone} is "
            f"{dearest.epoch_s / shallow.epoch_s:.1f} times as fast as at depth "
            f"{dearest.unfrozen_depth}"
        )
    if cheapest.backbone != dearest.backbone:
        found.append(
            f"a smaller network: an epoch of {cheapest.backbone} is "
            f"{dearest.epoch_s / cheapest.epoch_s:.1f} times as fast as one of {dearest.backbone}"
        )
    if dearest.side > 96:
        half = dearest.side // 2
        found.append(f"data.image_size: {half}, half the side, makes an epoch about 4 times faster")
    if not budget:
        found.append("search.budget: {hours: N} ends it after N hours with the best found")
    return found
