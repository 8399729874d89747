"""The disk that a search's checkpoints take, known before it begins.

Torch is imported with the first estimate.
"""

import logging
import shutil
from dataclasses import dataclass
from typing import Any

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.parameter import Range
from dann_search.config.source import SettingError
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.search.resources import gigabytes
from dann_search.search.trial_memory import CLASSES, largest_recipes
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
        parameter = space.parameters[name]
        if isinstance(parameter, Range):
            values[name] = space.bounds(name, backbone)[0]
        else:
            # A depth of None is all stages.
            values[name] = min((v for v in parameter.options if v is not None), default=None)
    searched = space.parameters.get("fine_tuning")
    tunings = searched.stated.values() if searched else [space.fixed.fine_tuning]
    return [space.fixed.model_copy(update=values | {"fine_tuning": one}) for one in tunings]


def _sizes(recipe: TrialConfig) -> tuple[int, int] | None:
    from dann_search.training.checkpoint import checkpoint_bytes

    try:
        return checkpoint_bytes(recipe, CLASSES)
    except Exception:  # a user's backbone may need data
        logging.getLogger(__name__).debug("no estimate of checkpoints", exc_info=True)
        return None


def _amount(size: float) -> str:
    return gigabytes(size) if size >= 5e7 else f"{size / 1e6:.1f} MB"
