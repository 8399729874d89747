"""The methods that compare can train beside the winner, each as one recipe.

All of them share the winner's images, backbone, epochs and batch size: the same budget.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dann_search.config.experiment import WeightsFile
from dann_search.config.extensions import METHODS
from dann_search.config.parameter import is_one_of
from dann_search.config.start_points import PUBLISHED
from dann_search.config.trial import TrialConfig, implied_conditions
from dann_search.errors import InputError, nearest

FROZEN = "frozen_features"
"""Source-only on frozen features: only the heads are trained."""

ADABN = "adabn"
"""Source-only whose batch norm takes its statistics from unlabelled target images."""

LAMBDA_0 = "lambda_0"
"""The winner's method without its term: the same batches, the same batch norm, lambda 0."""

TLLIB = "tllib_dann"
"""DANN with tllib's defaults instead of the winner's recipe, its schedules by steps as there."""

SOURCE_PLUS_FEW = "source_plus_few"
"""The same labels as the winner has, of source and target, without adaptation."""

TARGET_FEW = "target_few"
"""The winner's recipe, trained on the target's few labelled images alone."""

SUPERVISED = "target_supervised"
"""Upper bound: the winner's recipe, trained on the target's training images and labels."""

IN_COMPARE_ALONE = (LAMBDA_0, FROZEN, TLLIB, TARGET_FEW, SUPERVISED)

OF_LABELS_ALONE = (TARGET_FEW, SUPERVISED)
"""Baselines that are trained as source_only is, on labelled target images in the source's place."""

TLLIB_STEPS = 1000
"""Steps over which tllib's schedules rise and fall, whatever the length of training: max_iters of
its gradient reversal, and the inverse of its --lr-gamma."""

# tllib's --scratch gives the backbone the learning rate of the heads.
TLLIB_SCRATCH: dict[str, Any] = {"learning_rate": 0.01, "head_lr_factor": 1.0}


TUNED = "_tuned"
"""Ending of the name by which a comparison calls the tuned twin of a baseline."""


def checked(methods: Sequence[str], few: bool = False) -> list[str]:
    """Return the names without repetitions.

    Raises:
        InputError: a name is unknown, and the error suggests the nearest, or a method needs
            labelled target images to train on and there are not ``few``.
    """
    names = list(dict.fromkeys(name.strip() for name in methods if name.strip()))
    valid = [*METHODS, *IN_COMPARE_ALONE]
    for name in names:
        if name not in valid:
            raise InputError(f"unknown method '{name}'; {nearest(name, valid)}")
        if name in (SOURCE_PLUS_FEW, TARGET_FEW) and not few:
            raise InputError(
                f"{name} needs labelled training images of the target, and the search had none: "
                "search again with data.target.labels"
            )
    return names


def default_methods(
    winner: TrialConfig, files: Mapping[str, WeightsFile], few: bool = False
) -> list[str]:
    """Return the winner's method and the baselines that read no label the search did not have.

    They are source_only, source_plus_few and target_few if there are ``few`` labels of the target's
    training images, adabn, lambda_0 if the winner adapts, frozen_features if the backbone has
    pre-trained weights, from_scratch and tllib_dann.
    """
    frozen = [FROZEN] if starts_pretrained(winner, files) else []
    weighed = [LAMBDA_0] if winner.adapts and not winner.by_statistics else []
    labels = [SOURCE_PLUS_FEW, TARGET_FEW] if few else []
    names = [winner.method, "source_only", *labels, ADABN, *weighed]
    names += [*frozen, "from_scratch", TLLIB]
    return list(dict.fromkeys(names))


def uses_few(method: str) -> bool:
    """Return whether a method of compare trains on the target's few labels, where it has some."""
    if method == FROZEN:
        return False
    return method not in METHODS or METHODS[method].target_labels != "unused"


def recipe(
    winner: TrialConfig, method: str, seed: int, files: Mapping[str, WeightsFile], steps: int
) -> TrialConfig:
    """Return the recipe that a method trains in so many steps."""
    if method == TLLIB:
        return _tllib(winner, seed, files, steps)
    return winner.model_copy(update={**fixed_by(method, winner.method), "seed": seed})


def fixed_by(method: str, winner: str) -> dict[str, Any]:
    """Return the fields that make a recipe one of a baseline's, beside the winner's method."""
    if method == FROZEN:
        return {"method": "source_only", "unfrozen_depth": 0, "batch_norm": "frozen"}
    if method in OF_LABELS_ALONE:
        return {"method": "source_only"}
    fixed: dict[str, Any] = {"method": method}
    if method == LAMBDA_0:
        fixed = {"method": winner, "lambda_max": 0.0}
    if method in (ADABN, LAMBDA_0) and method != winner:
        # Self-training is part of the adaptation that they are there to be without.
        fixed["pseudo_labels"] = 0.0
    return fixed


def _tllib(
    winner: TrialConfig, seed: int, files: Mapping[str, WeightsFile], steps: int
) -> TrialConfig:
    pretrained = starts_pretrained(winner, files)
    shared = winner.model_dump(include={"backbone", "epochs", "batch_size"})
    rates = {} if pretrained else TLLIB_SCRATCH
    # By steps, as there: of 102 steps, a stretched schedule has lambda at 0.76 after ten.
    gammas = dict.fromkeys(("lambda_gamma", "lr_gamma"), steps / TLLIB_STEPS)
    own = {"pretrained": pretrained, "seed": seed}
    return TrialConfig(**PUBLISHED["tllib"] | rates | shared | gammas | own)


def starts_pretrained(winner: TrialConfig, files: Mapping[str, WeightsFile]) -> bool:
    """Return whether baselines of the winner start from pre-trained weights.

    They do even if the winner itself is from scratch.
    """
    from dann_search.models.build import uses_pretrained

    return uses_pretrained(winner.model_copy(update={"method": "source_only"}), files)


def effective(
    config: TrialConfig, files: Mapping[str, WeightsFile], few: bool = False
) -> TrialConfig:
    """Return the recipe with every field that has no effect set to a fixed value.

    If two recipes are then equal, they train the same network to the last digit. One case is not
    exact: without batch norm to adapt, adabn is source_only up to rounding and dropout's draws. The
    reverse need not hold; it only costs one more training. ``few`` says whether some of the
    target's training images have labels to train on.
    """
    from dann_search.models.build import batch_norm_stages, uses_pretrained
    from dann_search.models.registry import spec_of

    stages = len(spec_of(config.backbone).stages)
    depth = stages if config.unfrozen_depth is None else min(config.unfrozen_depth, stages)
    changes: dict[str, Any] = {"pretrained": uses_pretrained(config, files)}
    idle = [] if config.pseudo_labels else ["pseudo_label_weight"]
    if config.method == "from_scratch":
        depth = stages
        changes["method"] = "source_only"
        idle += ["fine_tuning", "linear_probe_epochs", "head_init"]
    changes |= {name: _default(name) for name in idle}
    if depth == 0:
        changes |= {"gradual_unfreezing": 0, "stage_lr_decay": 1.0}
        changes |= {"linear_probe_epochs": 0, "fine_tuning": "stages"}
    moving = any(stage >= stages - depth for stage in batch_norm_stages(config.backbone))
    if config.adapts:
        changes |= _with_target(config, moving, few)
    if config.method == SOURCE_PLUS_FEW or changes.get("method") == SOURCE_PLUS_FEW:
        # Statistics of its own for each domain are for methods that adapt.
        if config.batch_norm == "domain":
            changes["batch_norm"] = "separate"
    elif not config.adapts or changes.get("method") == "source_only":
        # No target images pass through batch norm, and frozen stages keep their statistics.
        learnt = config.method == "from_scratch" or config.batch_norm != "frozen"
        changes["batch_norm"] = "separate" if learnt and moving else "frozen"
        changes["target_augmentation"] = _default("target_augmentation")
    plain = config.model_copy(update=changes | {"unfrozen_depth": depth})
    return plain.model_copy(update=_idle(plain))


def _with_target(config: TrialConfig, moving: bool, few: bool) -> dict[str, Any]:
    """Return what batch norm and lambda of a recipe that adapts come to.

    ``moving``: its backbone has batch norm whose statistics training may move.
    """
    fixed = config.batch_norm == "frozen" and moving
    if config.by_statistics or _is_adabn(config):
        if not (config.bottleneck or config.pseudo_labels) and (fixed or not moving):
            return {"method": SOURCE_PLUS_FEW if few else "source_only"}
        return {"method": ADABN, "batch_norm": "frozen" if fixed else "domain"}
    if moving or config.batch_norm == "joint":
        return {}
    # Only the bottleneck has statistics that move, and under "frozen" they are not fixed.
    by_domain = config.batch_norm == "domain" and config.bottleneck
    return {"batch_norm": "domain" if by_domain else "separate"}


def _is_adabn(config: TrialConfig) -> bool:
    """Return whether lambda 0 leaves nothing of a method of ours but its batch norm by domain.

    Not so where its term still counts for the gradient's norm or scale, or draws random numbers.
    """
    ours = METHODS.code(config.method).__module__.startswith("dann_search.")
    plain = not config.gradient_clipping and config.precision != "fp16"
    quiet = not (config.adversarial and config.discriminator_dropout)
    by_domain = config.batch_norm == "domain" and config.lambda_max == config.pseudo_labels == 0
    linear = METHODS[config.method].classifier == "linear"
    alike = linear and not config.strong_views
    return by_domain and ours and plain and quiet and alike


def _idle(config: TrialConfig) -> dict[str, Any]:
    """Return the defaults of fields whose condition does not hold."""
    return {
        name: _default(name)
        for name, conditions in implied_conditions().items()
        if any(
            not is_one_of(getattr(config, other), wanted) for other, wanted in conditions.items()
        )
    }


def _default(name: str) -> Any:
    return TrialConfig.model_fields[name].default
