"""Explain a search space: its dimensions, its number of configurations, and some of them."""

from collections.abc import Mapping
from typing import Any, cast

import optuna

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.grid import combinations
from dann_search.config.parameter import Choice, Parameter, Range
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.outputs import space as outputs
from dann_search.outputs.space import Kind
from dann_search.study.pruning import describe_scheduler
from dann_search.study.suggest import suggest


def explain(
    experiment: ExperimentConfig,
    space: Space,
    plan: str,
    disk: str,
    samples: int = 5,
    target_labelled: bool = True,
    licences: Mapping[str, str] | None = None,
) -> outputs.SpaceSummary:
    """Describe a search space, its ``plan`` and what it takes of the ``disk``.

    Some configurations are sampled at random.
    """
    count, asked = combinations(space), experiment.search.trials
    return outputs.SpaceSummary(
        parameters=[_described(name, one, space) for name, one in space.parameters.items()],
        combinations=count,
        trials=asked if count is None else min(asked, count),
        scheduler=describe_scheduler(experiment.search.scheduler, space.fixed.epochs),
        plan=plan,
        disk=disk,
        objective=experiment.search.objective,
        target_labelled=target_labelled,
        few_labels=str(few) if (few := experiment.data.target.labels) else None,
        licences=dict(licences or {}),
        samples=[space.active(one.model_dump()) for one in sampled(experiment, space, samples)],
        estimate=None,
    )


def sampled(experiment: ExperimentConfig, space: Space, count: int) -> list[TrialConfig]:
    """Return random recipes of a space, the same for the search's seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=experiment.search.seed)
    study = optuna.create_study(sampler=sampler)
    return [suggest(study.ask(), space) for _ in range(count)]


def _described(name: str, parameter: Parameter, space: Space) -> outputs.SearchedParameter:
    ranges, own = list(parameter.choice if isinstance(parameter, Choice) else parameter.bounds), {}
    if isinstance(parameter, Range):
        own = {backbone: list(bounds) for backbone, bounds in parameter.per_backbone.items()}
    return outputs.SearchedParameter(
        name=name,
        kind=cast(Kind, parameter.kind),
        range=ranges,
        step=parameter.increment if isinstance(parameter, Range) else None,
        per_backbone=own,
        when=_telling(parameter, space),
    )


def _telling(parameter: Parameter, space: Space) -> dict[str, Any]:
    """Return the conditions that not every recipe of the space fulfils, with values it can have."""
    telling: dict[str, Any] = {}
    for other, wanted in parameter.when.items():
        governing = space.parameters.get(other)
        accepted = wanted if isinstance(wanted, list) else [wanted]
        if isinstance(governing, Choice):
            possible = list(governing.choice)
            accepted = [value for value in possible if value in accepted]
        elif governing is None:
            possible = [getattr(space.fixed, other)]
        else:
            telling[other] = wanted
            continue
        if any(value not in accepted for value in possible):
            telling[other] = accepted if isinstance(wanted, list) else wanted
    return telling
