"""The disk that a search's checkpoints and kept features take, known before it begins.

Torch is imported with the first estimate.
"""

import shutil
from dataclasses import dataclass
from typing import Any

from dann_search.config.data import DataConfig
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.source import SettingError
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.models.registry import spec_of
from dann_search.search.resources import GIB, gigabytes
from dann_search.search.trial_memory import CLASSES, ends, estimated, largest_recipes
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.retention import models_to_keep


@dataclass(frozen=True)
class DiskNeed:
    """Bytes of the largest recipe's checkpoints.

    Attributes:
        model: of one model.
        training: that one trial takes beside while it is trained.
        models: number of models that the search keeps.
    """

    model: int
    training: int
    models: int

    @property
    def left(self) -> int:
        """Bytes that the search leaves at most; trials that failed may leave more."""
        return self.models * self.model

    def __str__(self) -> str:
        models = "1 model" if self.models == 1 else f"models of the {self.models} best trials"
        return (
            f"at most {_amount(self.left)} of checkpoints stay, {models} (search.keep_best); a "
            f"trial in training takes up to {_amount(self.training)}"
        )


def disk_need(experiment: ExperimentConfig, space: Space) -> DiskNeed | None:
    """Return what the checkpoints of a search take; None where a backbone's size is not known."""
    sizes = [_sizes(recipe) for recipe in largest_recipes(space)]
    known = [size for size in sizes if size]
    if len(known) < len(sizes):
        return None
    model, last = (max(one) for one in zip(*known, strict=True))
    models = min(models_to_keep(experiment.search), experiment.search.trials)
    # Each is written beside the one that it replaces.
    return DiskNeed(model, 2 * (model + last), models)


def check_room(experiment: ExperimentConfig, space: Space) -> list[str]:
    """Return a remark where the disk may not suffice for a new search's checkpoints.

    Raises:
        SettingError: not even one trial of the smallest recipe has room for its checkpoints.
    """
    folder = ExperimentFolder.at(experiment.place)
    if folder.remote:
        return []  # what is free there cannot be asked for
    root = folder.root.absolute()
    free = shutil.disk_usage(next(path for path in root.parents if path.exists())).free
    smallest = [_sizes(one) for backbone in space.backbones for one in _smallest(space, backbone)]
    if all(smallest):
        least = min(sum(size) for size in smallest if size)
        if least > free:
            raise SettingError(
                ("storage",),
                f"{experiment.storage} has {_amount(free)} free, and the checkpoints of one "
                f"trial take {_amount(least)} at least; make room, or choose another with "
                "--storage DIR|URL",
            )
    need = disk_need(experiment, space)
    if need is None or need.left + need.training <= free:
        return []
    return [f"storage: {experiment.storage} has {_amount(free)} free, and {need}"]


def _smallest(space: Space, backbone: str) -> list[TrialConfig]:
    """Return recipes, of which one has checkpoints no larger than any other of a backbone.

    They differ in what is trained of a stage: adapters of a high rank are larger than its weights.
    """
    values: dict[str, Any] = {"backbone": backbone, "method": "source_only", "optimizer": "sgd"}
    values |= {"momentum": 0.0, "ema_decay": 0.0}
    for name in space.parameters.keys() & {"unfrozen_depth", "bottleneck", "lora_rank"}:
        found = (value for value in ends(space, name, backbone) if value is not None)
        values[name] = min(found, default=None)  # a depth of None is all stages
    return [
        space.fixed.model_copy(update={**values, "fine_tuning": one})
        for one in ends(space, "fine_tuning", backbone)
    ]


def _sizes(recipe: TrialConfig) -> tuple[int, int] | None:
    from dann_search.training.checkpoint import checkpoint_bytes

    return estimated("checkpoints", lambda: checkpoint_bytes(recipe, CLASSES))


def _amount(size: float) -> str:
    return gigabytes(size) if size >= 5e7 else f"{size / 1e6:.1f} MB"


def kept_features(data: DataConfig, space: Space, info: StoreInfo | None = None) -> str | None:
    """Describe the features of frozen stages that trials of a space keep; None where none are.

    Args:
        data: of the experiment; gives the side at which networks see images.
        space: that is searched.
        info: of the packed store; without it, sizes are those of one image and view.
    """
    views = max(count for one in space.backbones for count in _whole(space, "views", one))
    if not views or not data.feature_limit_gib:
        return None
    found = [one for name in space.backbones if (one := _kept_of(data, space, name))]
    if not found:
        return None
    if info is None:
        sizes = [f"depth {depths} of {name} ({_range(kb)})" for name, depths, kb in found]
        return f"features kept of {', '.join(sizes)} an image and view"
    images = sum(views * of["train"] + of["val"] for of in info.sizes.values())
    sizes = [
        f"depth {depths} of {name} ({1000 * max(kb) * images / GIB:.2g} GiB at most)"
        for name, depths, kb in found
    ]
    return (
        f"features kept of {', '.join(sizes)}; together at most {data.feature_limit_gib:g} GiB "
        "(data.feature_limit_gib)"
    )


def _kept_of(data: DataConfig, space: Space, name: str) -> tuple[str, str, list[float]] | None:
    """Return a backbone's name, the depths at which it keeps features, and kB of an image."""
    from dann_search.training.frozen_stages import are_kept

    spec = spec_of(name)
    side = data.crop_size or data.image_size or spec.image_size
    by_depth = {}
    for depth in _whole(space, "unfrozen_depth", name):
        recipe = {"backbone": name, "unfrozen_depth": depth, "views": 1, "method": "source_only"}
        config = space.fixed.model_copy(update=recipe)
        if cost := are_kept(config, side, len(spec.stages)):
            by_depth[depth] = 4 * cost.numbers / 1000
    if not by_depth:
        return None
    low, high = min(by_depth), max(by_depth)
    return name, f"{low} to {high}" if low < high else str(low), list(by_depth.values())


def _whole(space: Space, name: str, backbone: str) -> list[int]:
    """Return all values of a parameter of whole numbers, searched or fixed, but None."""
    searched = name in space.parameters
    values = (
        space.options(name, {"backbone": backbone}) if searched else [getattr(space.fixed, name)]
    )
    return [value for value in values or () if value is not None]


def _range(kilobytes: list[float]) -> str:
    low, high = min(kilobytes), max(kilobytes)
    return f"{low:.0f} to {high:.0f} kB" if low < high else f"{low:.0f} kB"
