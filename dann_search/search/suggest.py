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
        backbone = values["backbone"]
        called = study_name(name, space, backbone)
        match parameter:
            case Choice(choice=options):
                values[name] = trial.suggest_categorical(called, options)
            case Int(step=step):
                low, high = (int(bound) for bound in space.bounds(name, backbone))
                values[name] = trial.suggest_int(called, low, high, step=step)
            case Uniform() | LogUniform():
                values[name] = trial.suggest_float(
                    called,
                    *space.bounds(name, backbone),
                    step=parameter.increment,
                    log=isinstance(parameter, LogUniform),
                )
    return TrialConfig(**values)


def study_name(name: str, space: Space, backbone: str) -> str:
    """What the study calls a parameter; where backbones differ, ``unfrozen_depth.resnet18``."""
    return f"{name}.{backbone}" if space.by_backbone(name, backbone) else name
