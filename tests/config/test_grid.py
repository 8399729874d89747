"""Counting and listing the configurations of generated spaces; conditions in them."""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_search.config.grid import combinations, grid
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig, implied_conditions
from dann_search.study.suggest import suggest
from tests.studies import space_of

optuna.logging.set_verbosity(optuna.logging.ERROR)
DATA = {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}}
CHOICES: dict[str, list[Any]] = {
    "backbone": ["dann_cnn", "resnet18", "vgg16"],
    "method": ["dann", "mcc", "source_only"],
    "optimizer": ["sgd", "adamw"],
    "lambda_schedule": ["constant", "linear", "ganin"],
    "batch_norm": ["joint", "separate", "frozen"],
}
RANGES: dict[str, dict[str, Any]] = {
    "unfrozen_depth": {"int": [0, 4], "step": 2},
    "lambda_max": {"uniform": [0, 1], "step": 0.25},
    "lambda_gamma": {"choice": [5, 10]},
    "momentum": {"uniform": [0, 0.9], "step": 0.3},
    "weight_decay": {"loguniform": [1e-5, 1e-2]},
    "discriminator_depth": {"int": [1, 3]},
}
VALUES: dict[str, list[float]] = {"momentum": [0, 0.3, 0.9], "discriminator_depth": [1, 3]}
"""Values of ranges that a condition may name."""
FIRST = ["method", "optimizer", "lambda_schedule"]
OWN = {"vgg16": [0, 2]}


def conditions(draw: st.DrawFn, name: str, space: dict[str, Any]) -> dict[str, Any]:
    """Perhaps a ``when`` on parameters that are there already, under conditions or not."""
    when: dict[str, Any] = {}
    for other in draw(st.lists(st.sampled_from(sorted(space)), unique=True)) if space else ():
        implied = implied_conditions().get(name, {}).get(other)
        options = space[other].get("choice", VALUES.get(other, []))
        possible = [v for v in options if implied is None or v in implied]
        if possible:
            wanted = draw(st.lists(st.sampled_from(possible), min_size=1, unique=True))
            single = len(wanted) == 1 and draw(st.booleans())
            when[other] = wanted[0] if single else wanted
    return {"when": when} if when else {}


Stated = dict[str, Any]
"""The ``space`` section as a user writes it."""


@st.composite
def spaces(draw: st.DrawFn) -> tuple[Space, Stated]:
    """Spaces of some choices and ranges, each perhaps under conditions on earlier ones."""
    names = st.sampled_from(sorted({**CHOICES, **RANGES}))
    chosen = draw(st.lists(names, unique=True, max_size=5))
    # What the effect of others depends on comes before them, or the conditions form a cycle.
    chosen.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    space: dict[str, Any] = {}
    for name in chosen:
        space[name] = {**RANGES.get(name, {}), **conditions(draw, name, space)}
        if name in CHOICES:
            values = st.lists(st.sampled_from(CHOICES[name]), min_size=1, unique=True)
            space[name]["choice"] = draw(values)
    backbones = space.get("backbone", {}).get("choice", [])
    if "unfrozen_depth" in space and backbones == ["dann_cnn"]:
        space["unfrozen_depth"]["int"] = [0, 2]  # it has three stages
    has_vgg = "vgg16" in backbones
    if has_vgg and "unfrozen_depth" in space and draw(st.booleans()):
        space["unfrozen_depth"]["per_backbone"] = OWN
    stated = {name: space[name] for name in draw(st.permutations(list(space)))}
    return space_of(stated), stated


def present(stated: Stated, values: Mapping[str, Any]) -> set[str]:
    """Which parameters a recipe has, worked out from the file and the table of effects alone.

    Those without conditions are there; then, round after round, those whose conditions on what is
    there, or on what is not searched at all, hold.
    """
    found: set[str] = set()
    while True:
        more = {
            name
            for name in stated
            if all(
                (other in found or other not in stated)
                and any(values[other] == one for one in (v if isinstance(v, list) else [v]))
                for table in (stated[name].get("when", {}), implied_conditions().get(name, {}))
                for other, v in table.items()
            )
        }
        if more == found:
            return found
        found = more


@settings(max_examples=80)
@given(generated=spaces(), seed=st.integers(0, 2**31 - 1))
def test_a_conditional_parameter_is_sampled_exactly_where_its_condition_holds(
    generated: tuple[Space, Stated], seed: int
) -> None:
    space, stated = generated
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    config = suggest(trial, space)
    values = config.model_dump()
    sampled = {name.split(".")[0] for name in trial.params}
    assert sampled == present(stated, values) == set(space.active(values))
    assert all(space.contains(name, values[name], config.backbone) for name in sampled)
    assert TrialConfig(**json.loads(json.dumps(values))) == config
    # Asked again, as after a crash, the trial is the same.
    assert suggest(optuna.Trial(study, trial._trial_id), space) == config


@settings(max_examples=80)
@given(generated=spaces())
def test_the_number_of_configurations_is_that_of_the_listed_ones(
    generated: tuple[Space, Stated],
) -> None:
    space, stated = generated
    count = combinations(space)
    if count is None:
        assert "weight_decay" in space.parameters
        return
    listed = list(grid(space))
    assert len(listed) == count
    unique = {json.dumps(values, sort_keys=True) for values in listed}
    assert len(unique) == count
    for values in listed:
        config = TrialConfig(**{**space.fixed.model_dump(), **values})
        assert space.active(config.model_dump()) == values
        assert set(values) == present(stated, config.model_dump())
        assert all(space.contains(n, v, config.backbone) for n, v in values.items())
