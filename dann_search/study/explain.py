"""Explain a search space: its dimensions, its number of configurations, and some of them."""

from typing import cast

import optuna

from dann_search.config.experiment import Experiment
from dann_search.config.grid import combinations
from dann_search.config.parameter import Choice, Parameter, Range
from dann_search.config.space import Space
from dann_search.outputs import space as outputs
from dann_search.outputs.space import Kind
from dann_search.study.pruning import describe_scheduler
from dann_search.study.suggest import suggest


def explain(experiment: Experiment, space: Space, plan: str, samples: int = 5) -> outputs.Space:
    """Describe a search space and its ``plan``, with some configurations sampled at random."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=experiment.search.seed)
    study = optuna.create_study(sampler=sampler)
    return outputs.Space(
        parameters=[_described(name, one) for name, one in space.parameters.items()],
        combinations=combinations(space),
        scheduler=describe_scheduler(experiment.search.scheduler, space.fixed.epochs),
        plan=plan,
        samples=[space.active(suggest(study.ask(), space).model_dump()) for _ in range(samples)],
    )


def _described(name: str, parameter: Parameter) -> outputs.SearchedParameter:
    ranges, own = list(parameter.choice if isinstance(parameter, Choice) else parameter.bounds), {}
    if isinstance(parameter, Range):
        own = {backbone: list(bounds) for backbone, bounds in parameter.own_bounds.items()}
    return outputs.SearchedParameter(
        name=name,
        kind=cast(Kind, parameter.kind),
        range=ranges,
        step=parameter.increment if isinstance(parameter, Range) else None,
        per_backbone=own,
        when=parameter.when,
    )
