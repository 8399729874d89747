"""The search space as an Optuna define-by-run function: from a trial to its configuration."""

from typing import Any

import optuna

from dann_search.config.parameter import Choice, Int, LogUniform, Uniform
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig


def suggest(trial: optuna.Trial, space: Space) -> TrialConfig:
    """Ask Optuna for every parameter whose condition holds; the others keep their fixed value.

    On a trial that has its values already (one resumed) it returns the same configuration again.
    """
    values: dict[str, Any] = space.fixed.model_dump()
    for name, parameter in space.parameters.items():
        if not parameter.holds(values):
            continue
        match parameter:
            case Choice(choice=options):
                values[name] = trial.suggest_categorical(name, options)
            case Uniform(uniform=(low, high)):
                values[name] = trial.suggest_float(name, low, high)
            case LogUniform(loguniform=(low, high)):
                values[name] = trial.suggest_float(name, low, high, log=True)
            case Int():
                low, high = parameter.int
                if name == "unfrozen_depth":
                    low, high = space.depth_range(values["backbone"])
                values[name] = trial.suggest_int(study_name(name, space, values), low, high)
    return TrialConfig(**values)


def study_name(name: str, space: Space, values: dict[str, Any]) -> str:
    """What the study calls a parameter.

    Depth 2 of one backbone is not depth 2 of another, and their ranges differ, so where the
    backbone is searched each has a depth of its own: ``unfrozen_depth.resnet18``. A sampler then
    never mixes them.
    """
    if name == "unfrozen_depth" and len(space.backbones) > 1:
        return f"{name}.{values['backbone']}"
    return name
