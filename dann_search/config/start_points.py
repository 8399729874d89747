"""Configurations to try first: published recipes and the user's points, fitted to the space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dann_search.config.messages import shown
from dann_search.config.parameter import Choice, Range, is_one_of
from dann_search.config.source import KeyPath, SettingError
from dann_search.config.space import NOT_SEARCHED, Space
from dann_search.config.trial import TrialConfig
from dann_search.errors import nearest

ALL_STAGES = 1000

DANN: dict[str, Any] = {
    "method": "dann",
    "optimizer": "sgd",
    "momentum": 0.9,
    "lr_schedule": "ganin",
    "discriminator_width": 1024,
    "discriminator_depth": 2,
    "lambda_schedule": "ganin",
    "lambda_max": 1.0,
    "unfrozen_depth": ALL_STAGES,
}
"""What the published recipes have in common."""

PUBLISHED: dict[str, dict[str, Any]] = {
    # Ganin et al., JMLR 2016, sections 5.2.2 and 5.2.4: batches of 128, half of each domain; a
    # discriminator of 1024-1024. Its backbone on photographs is AlexNet, which no space has: the
    # sampler chooses one.
    "DANN paper": DANN
    | {
        "backbone": "alexnet",
        "learning_rate": 0.01,
        "head_lr_factor": 1.0,
        "batch_size": 64,
        "lambda_gamma": 10.0,
    },
    # tllib at c4aa59e, examples/domain_adaptation/image_classification/dann.py and .sh (Office-31):
    # --scale 0.08 1.0; at step i of 20 x 1,000 a lambda of 2 / (1 + exp(-i / 1000)) - 1 and rates
    # times (1 + i / 1000)^-0.75, which is gamma = 20 where schedules are stretched over the budget.
    "tllib": DANN
    | {
        "backbone": "resnet50",
        "learning_rate": 0.001,
        "head_lr_factor": 10.0,
        "lr_gamma": 20.0,
        "weight_decay": 0.001,
        "batch_size": 32,
        "batch_norm": "joint",
        "bottleneck": 256,
        "discriminator_norm": "batch",
        "lambda_gamma": 20.0,
        "horizontal_flip": 0.5,
        "crop_scale": 0.08,
    },
}
"""What each origin states; ``published_recipes`` adds the neutral value of everything else."""


def published_recipes() -> dict[str, dict[str, Any]]:
    """Return the published recipes by origin, each with a value for every searchable field.

    A field that the origin does not mention has its default, which is neutral: otherwise the
    sampler would choose it, and a trial called "DANN paper" would flip images upside down.
    """
    neutral = TrialConfig().model_dump(exclude=set(NOT_SEARCHED))
    return {origin: neutral | stated for origin, stated in PUBLISHED.items()}


@dataclass(frozen=True)
class StartPoint:
    """Values for one trial to begin with; the sampler chooses the others.

    Attributes:
        origin: the published recipe or the user's point that the values are from.
        values: searched parameters by backbone, since ranges differ; each value is the nearest
            one that the space allows. A name that the space does not offer is left out.
    """

    origin: str
    values: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class KnownTrial:
    """A completed trial of another experiment: its recipe and its score."""

    origin: str
    config: dict[str, Any]
    score: float


def start_points(space: Space, stated: list[dict[str, Any]], published: bool) -> list[StartPoint]:
    """Return the published recipes, then the user's points, without repetitions.

    Raises:
        SettingError: a point of the user lies outside of the space.
    """
    recipes = published_recipes() if published else {}
    found = [StartPoint(origin, _fitted(space, values)) for origin, values in recipes.items()]
    for index, values in enumerate(stated):
        _check(space, index, values)
        found.append(StartPoint(f"start point {index + 1}", _fitted(space, values)))
    unique: list[StartPoint] = []
    for point in found:
        if any(point.values.values()) and point.values not in [other.values for other in unique]:
            unique.append(point)
    return unique


def _fitted(space: Space, wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        backbone: {
            name: value
            for name in space.parameters
            if name in wanted
            and (value := nearest_value(space, name, wanted[name], backbone)) is not None
        }
        for backbone in _backbones(space, wanted)
    }


def nearest_value(space: Space, name: str, wanted: Any, backbone: str) -> Any:
    """Return the value of a parameter nearest to ``wanted``; None if no choice resembles it."""
    parameter = space.parameters[name]
    if space.contains(name, wanted, backbone):
        return wanted
    if isinstance(parameter, Choice):
        numbers = [v for v in parameter.choice if isinstance(v, int | float)]
        if not isinstance(wanted, int | float) or len(numbers) < len(parameter.choice):
            return None
        return min(numbers, key=lambda value: abs(value - wanted))
    low, high = space.bounds(name, backbone)
    clipped = min(max(wanted, low), high)
    options = parameter.options_between((low, high))
    if options is None:
        return clipped
    return min((v for v in options if isinstance(v, int | float)), key=lambda v: abs(v - clipped))


def _check(space: Space, index: int, values: Mapping[str, Any]) -> None:
    """Refuse values that no trial of this space could have."""
    path: KeyPath = ("search", "start_points", index)
    if not values:
        raise SettingError(path, "is empty: give some searched parameters their values")
    searched = [name for name in values if name in space.parameters]
    for name, value in values.items():
        if name in searched:
            backbones = _backbones(space, values)
            if not any(space.contains(name, value, one) for one in backbones):
                problem = f"{_allowed(space, name, backbones)}, got {shown(value)}"
                raise SettingError((*path, name), problem)
        elif value is None or getattr(space.fixed, name, None) != value:
            problem = f"'{name}' is not searched; {nearest(name, space.parameters)}"
            raise SettingError((*path, name), problem)
    for name in searched:
        _check_condition(space, (*path, name), name, values)


def _backbones(space: Space, values: Mapping[str, Any]) -> list[str]:
    """Return the backbone that a point names, if the space has it; else all of them."""
    named = values.get("backbone")
    return [named] if named in space.backbones else space.backbones


def _check_condition(space: Space, path: KeyPath, name: str, values: Mapping[str, Any]) -> None:
    """Refuse a value whose condition the point does not fulfil.

    The sampler would fulfil it by chance only, and the value would be dropped otherwise.
    """
    for other, wanted in space.parameters[name].when.items():
        governing = space.parameters.get(other)
        if governing is not None:
            _check_condition(space, path, other, values)
        if governing is None or other in values:
            held = values.get(other, getattr(space.fixed, other))
            if not is_one_of(held, wanted):
                raise SettingError(path, f"does not apply: {other} is {shown(held)}")
        elif not all(is_one_of(value, wanted) for value in governing.options or ()):
            options = " or ".join(map(shown, wanted if isinstance(wanted, list) else [wanted]))
            message = f"applies only where {other} is {options}: give this point its {other} too"
            raise SettingError(path, message)


def _allowed(space: Space, name: str, backbones: Sequence[str]) -> str:
    parameter = space.parameters[name]
    if not isinstance(parameter, Range):
        return f"must be one of {shown(list(parameter.options or ()))}"
    steps = f" in steps of {parameter.increment:g}" if parameter.increment else ""
    by_bounds: dict[tuple[float, float], list[str]] = {}
    for backbone in backbones:
        by_bounds.setdefault(space.bounds(name, backbone), []).append(backbone)
    parts = [
        f"between {low:g} and {high:g}{steps}"
        + (f" for {' and '.join(names)}" if len(by_bounds) > 1 else "")
        for (low, high), names in by_bounds.items()
    ]
    return f"must be {', or '.join(parts)}"
