"""Checks of a launch or a resume that can be made before anything is started."""

import math
import shutil
import sys
from collections.abc import Sequence

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.extension_files import extensions_in_use, read_extension
from dann_search.config.grid import combinations
from dann_search.config.source import SettingError
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError
from dann_search.models.registry import registered, spec_of
from dann_search.models.sizes import size_needed
from dann_search.search.own_entries import entries_to_send
from dann_search.search.ray_private import local_gpu_count, socket_trouble
from dann_search.search.resources import cpu_count, make_plan
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.first_trials import check_grid, warm_trials
from dann_search.study.open_study import check_not_lost
from dann_search.study.samplers import check_sampler
from dann_search.study.study_storage import study_place
from dann_search.tracking.services import check_services


def check_search(
    experiment: ExperimentConfig,
    space: Space,
    known: Sequence[KnownTrial] = (),
    address: str = "local",
) -> None:
    """Refuse a search that this machine or this space does not allow.

    Raises:
        InputError: too few CPUs or GPUs, a temporary folder too long for Ray, a missing package, a
            grid too large, nothing to learn from among the trials ``known`` from another
            experiment, a function of a notebook that cannot be sent to workers.
    """
    entries_to_send()
    if address == "local":
        ray = sys.modules.get("ray")
        if (trouble := socket_trouble()) and not (ray and ray.is_initialized()):
            raise InputError(trouble)
        make_plan(experiment.resources, cpu_count(), local_gpu_count())
    check_sampler(experiment.search.sampler)
    check_services(experiment.tracking)
    check_grid(experiment, space)
    warm_trials(space, known)


def check_networks(experiment: ExperimentConfig, space: Space) -> None:
    """Refuse images or fine-tuning that a backbone of the space does not take.

    Raises:
        SettingError: a side that a network cannot see, or low-rank adapters for a user's backbone
            without any layer to adapt.
    """
    data = experiment.data
    key = "crop_size" if data.crop_size else "image_size"
    side = getattr(data, key)  # None for each one's native side, which needs no check
    searched = space.parameters.get("fine_tuning")
    tunings = searched.stated.values() if searched else [space.fixed.fine_tuning]
    for name in space.backbones:
        if side and (needed := size_needed(name, side)):
            raise SettingError(("data", key), f"must be {needed}, got {side}")
        if "lora" in tunings and registered(name):
            from dann_search.models.build import build_backbone
            from dann_search.models.lora import adaptable

            if not adaptable(build_backbone(name, None)):
                raise SettingError(
                    ("space" if searched else "training", "fine_tuning"),
                    "'lora' adapts linear layers and convolutions without groups, and "
                    f"{name} has none",
                )


def check_name(experiment: ExperimentConfig, folder: ExperimentFolder) -> None:
    """Refuse a name that is taken, in the storage folder or in the database of the study.

    Raises:
        InputError: it is taken, or what had it is lost.
    """
    place, name = study_place(folder, experiment.search.study), experiment.name
    folder.fetch(folder.record)
    if folder.record.exists():
        raise InputError(
            f"the experiment '{name}' exists already in {folder}; continue with it: "
            f"dann-search resume {folder}, or choose another name: --name {name}-2"
        )
    if place.exists(name):
        raise InputError(
            f"{place.shown} holds a study '{name}' already, of an experiment that is not in "
            f"{folder}; choose another name: --name {name}-2"
        )
    if place.is_half_made(name):
        raise InputError(
            f"{place.shown} holds a study '{name}' without trials that no experiment owns, as a "
            "launch leaves it that was cut off and whose folder is gone; remove it (optuna "
            f"delete-study --study-name {name} --storage URL), or choose another name: "
            f"--name {name}-2"
        )
    check_not_lost(folder, place, name)


def check_weights(experiment: ExperimentConfig, space: Space) -> None:
    """Load every pre-trained file now, so that workers never wait for a download."""
    if not experiment.fixed.pretrained or experiment.fixed.method == "from_scratch":
        return
    for name in space.backbones:
        if name in experiment.weights or spec_of(name).weights:
            from dann_search.models.weights import load_weights

            load_weights(name, experiment.weights)


def check_room_for_a_trial(folder: ExperimentFolder) -> None:
    """Refuse to continue where not even the next trial has room.

    Raises:
        InputError: the file system has less room than the largest checkpoint takes, three times:
            a trial keeps its best, its last and the one before.
    """
    sizes = [path.stat().st_size for path in folder.trials.glob("*/*.safetensors")]
    needed, free = 3 * max(sizes, default=0), shutil.disk_usage(folder.root).free
    if free < needed:
        raise InputError(
            f"{folder.root}: {free / 1e6:.1f} MB are free, and the checkpoints of one trial take "
            f"{needed / 1e6:.1f} MB; make room, then repeat the command"
        )


def remarks(
    experiment: ExperimentConfig,
    space: Space,
    known: Sequence[KnownTrial] = (),
    address: str = "local",
) -> list[str]:
    """Collect warnings: valid settings that are probably not intended."""
    found = _changed_extensions(experiment)
    gpus = local_gpu_count() if address == "local" else math.inf
    none = experiment.resources.gpus_per_worker == 0 or not gpus
    if experiment.search.budget.gpu_hours is not None and none:
        found.append("search.budget.gpu_hours is never reached: trials here use no GPU")
    count = combinations(space)
    if count is not None and count < experiment.search.trials:
        found.append(
            f"search.trials is {experiment.search.trials}, but the space has {count:,} "
            "configurations: each is trained once, then the search ends"
        )
    if known:
        fit = len(warm_trials(space, known))
        found.append(f"search.warm_start: {fit} of {len(known)} completed trials fit this space")
    return found


def _changed_extensions(experiment: ExperimentConfig) -> list[str]:
    """Say which of the user's files are no longer those that the search began with."""
    used = {file.name: file for file in extensions_in_use()}
    return [
        f"extensions: {path} has changed since the launch; this search continues with its own "
        "copy, as its trials began. Launch the changed file under another name"
        for path in experiment.extensions
        if path.is_file() and path.name in used and read_extension(path) != used[path.name]
    ]
