"""The search space as an Optuna define-by-run function."""

from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dann_search.config.parameter import Choice, Int, LogUniform, step_value
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig


def suggest(trial: optuna.Trial, space: Space) -> TrialConfig:
    """Ask Optuna for every parameter whose condition holds; the others keep their fixed value.

    A resumed trial has its values already and gets the same configuration again.
    """
    values: dict[str, Any] = space.fixed.model_dump()
    known, ranges = trial.params, trial.distributions
    for name in space.parameters:
        if not space.applies(name, values):
            continue
        backbone = values["backbone"]
        called = study_name(name, space, backbone)
        if called in known:  # from before a crash; the range may have grown since
            values[name] = _as_written(known[called], ranges[called])
        else:
            asked = distribution(space, name, backbone)
            values[name] = _as_written(_ask(trial, called, asked), asked)
    return space.settled(TrialConfig(**values))


def _ask(trial: optuna.Trial, name: str, values: BaseDistribution) -> Any:
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(name, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(name, values.low, values.high, step=values.step)
    assert isinstance(values, FloatDistribution)
    return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)


def _as_written(value: Any, values: BaseDistribution) -> Any:
    """Return 0.3, which conditions name, where Optuna computes 0.30000000000000004 by steps."""
    if isinstance(values, FloatDistribution) and values.step is not None:
        steps = round((value - values.low) / values.step)
        return step_value(values.low, values.step, steps)
    return value


def distribution(space: Space, name: str, backbone: str) -> BaseDistribution:
    """Return the Optuna distribution of a parameter for one backbone."""
    parameter = space.parameters[name]
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.choice)
    low, high = space.bounds(name, backbone)
    if isinstance(parameter, Int):
        return IntDistribution(int(low), int(high), step=parameter.step)
    log = isinstance(parameter, LogUniform)
    return FloatDistribution(low, high, log=log, step=parameter.increment)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return every distribution by its name in the study."""
    return {
        study_name(name, space, backbone): distribution(space, name, backbone)
        for name in space.parameters
        for backbone in space.backbones
    }


def study_name(name: str, space: Space, backbone: str) -> str:
    """Return a parameter's name in the study: ``unfrozen_depth.resnet18`` if backbones differ."""
    return f"{name}.{backbone}" if space.by_backbone(name, backbone) else name
