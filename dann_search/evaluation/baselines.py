"""What is set beside the winner: every method by name, each as one recipe.

All of them have the winner's images, backbone, epochs and batch size: the same budget.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dann_search.config.experiment import WeightsFile
from dann_search.config.extensions import METHODS
from dann_search.config.start_points import PUBLISHED
from dann_search.config.trial import TrialConfig, implied_conditions
from dann_search.errors import InputError, nearest

FROZEN = "frozen_features"
"""Source-only on the features as they are: nothing but the heads is trained."""

TLLIB = "tllib_dann"
"""DANN by tllib's defaults rather than by the winner's recipe."""

SUPERVISED = "target_supervised"
"""The upper bound: the winner's recipe on the target's own training images with their labels."""

IN_COMPARE_ALONE = (FROZEN, TLLIB, SUPERVISED)

# What tllib has and we have not: batch norm in the discriminator, and a learning rate of
# (1 + 20 p)^-0.75 where "ganin" is (1 + 10 p)^-0.75.
TLLIB_RECIPE: dict[str, Any] = PUBLISHED["tllib"]

# There, --scratch gives the backbone the heads' learning rate.
TLLIB_SCRATCH: dict[str, Any] = {"learning_rate": 0.01, "head_lr_factor": 1.0}


def checked(methods: Sequence[str]) -> list[str]:
    """The names without repetitions.

    Raises:
        InputError: one that is not known, with the nearest.
    """
    names = list(dict.fromkeys(name.strip() for name in methods if name.strip()))
    valid = [*METHODS, *IN_COMPARE_ALONE]
    for name in names:
        if name not in valid:
            raise InputError(f"unknown method '{name}'; {nearest(name, valid)}")
    return names


def default_methods(winner: TrialConfig, files: Mapping[str, WeightsFile]) -> list[str]:
    """The winner's method and the baselines that need no label of the target's training images."""
    frozen = [FROZEN] if starts_pretrained(winner, files) else []
    names = [winner.method, "source_only", *frozen, "from_scratch", TLLIB]
    return list(dict.fromkeys(names))


def recipe(
    winner: TrialConfig, method: str, seed: int, files: Mapping[str, WeightsFile]
) -> TrialConfig:
    """What a method trains."""
    if method == TLLIB:
        return _tllib(winner, seed, files)
    changes: dict[str, Any] = {"method": method, "seed": seed}
    if method == FROZEN:
        changes |= {"method": "source_only", "unfrozen_depth": 0, "batch_norm": "frozen"}
    if method == SUPERVISED:
        changes["method"] = "source_only"
    return winner.model_copy(update=changes)


def _tllib(winner: TrialConfig, seed: int, files: Mapping[str, WeightsFile]) -> TrialConfig:
    pretrained = starts_pretrained(winner, files)
    shared = {name: getattr(winner, name) for name in ("backbone", "epochs", "batch_size")}
    rates = {} if pretrained else TLLIB_SCRATCH
    return TrialConfig(**TLLIB_RECIPE | rates | shared | {"pretrained": pretrained, "seed": seed})


def starts_pretrained(winner: TrialConfig, files: Mapping[str, WeightsFile]) -> bool:
    """Whether the winner's backbone has pre-trained weights that it may use.

    A winner that is from scratch does not use them; its baselines do.
    """
    from dann_search.models.build import uses_pretrained

    return uses_pretrained(winner.model_copy(update={"method": "source_only"}), files)


def effective(config: TrialConfig, files: Mapping[str, WeightsFile]) -> TrialConfig:
    """The recipe with everything that has no effect on its training at one value.

    Two recipes that are equal then train the same network to the last digit. (The reverse need not
    hold: that costs a training, no more.)
    """
    from dann_search.models.build import uses_pretrained
    from dann_search.models.registry import spec_of

    stages = len(spec_of(config.backbone).stages)
    depth = stages if config.unfrozen_depth is None else min(config.unfrozen_depth, stages)
    changes: dict[str, Any] = {"pretrained": uses_pretrained(config, files)}
    if config.method == "from_scratch":
        depth = stages
        changes["method"] = "source_only"
    if depth == 0:
        changes |= {"gradual_unfreezing": 0, "stage_lr_decay": 1.0}
    if not config.adapts:
        # No target passes through batch norm, and frozen stages keep their statistics anyway.
        learnt = config.method == "from_scratch" or config.batch_norm != "frozen"
        changes["batch_norm"] = "separate" if learnt and depth else "frozen"
        changes["target_augmentation"] = _default("target_augmentation")
    plain = config.model_copy(update=changes | {"unfrozen_depth": depth})
    return plain.model_copy(update=_idle(plain))


def _idle(config: TrialConfig) -> dict[str, Any]:
    """Defaults of the fields whose condition does not hold."""
    return {
        name: _default(name)
        for name, conditions in implied_conditions().items()
        if any(
            getattr(config, other) not in ([wanted] if isinstance(wanted, str) else wanted)
            for other, wanted in conditions.items()
        )
    }


def _default(name: str) -> Any:
    return TrialConfig.model_fields[name].default
