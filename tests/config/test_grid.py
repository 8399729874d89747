"""Counting and listing the configurations of generated spaces; conditions in them."""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_search.config.experiment import Experiment
from dann_search.config.grid import combinations, grid
from dann_search.config.space import Space, build_space
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.search.suggest import suggest

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
OWN = {"vgg16": [0, 2]}


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Spaces of some choices and ranges, each perhaps under conditions on earlier choices."""
    chosen = draw(st.lists(st.sampled_from(sorted(CHOICES)), unique=True))
    space: dict[str, Any] = {}
    for name in chosen:
        options = draw(st.lists(st.sampled_from(CHOICES[name]), min_size=1, unique=True))
        space[name] = {"choice": options}
    for name in draw(st.lists(st.sampled_from(sorted(RANGES)), unique=True)):
        space[name] = dict(RANGES[name])
        if name == "unfrozen_depth" and space.get("backbone", {}).get("choice") == ["dann_cnn"]:
            space[name]["int"] = [0, 2]  # it has three stages
        for other in draw(st.lists(st.sampled_from(chosen), unique=True)) if chosen else ():
            wanted = draw(
                st.lists(st.sampled_from(space[other]["choice"]), min_size=1, unique=True)
            )
            single = len(wanted) == 1 and draw(st.booleans())
            space[name].setdefault("when", {})[other] = wanted[0] if single else wanted
    has_vgg = "vgg16" in space.get("backbone", {}).get("choice", [])
    if has_vgg and "unfrozen_depth" in space and draw(st.booleans()):
        space["unfrozen_depth"]["per_backbone"] = OWN
    names = draw(st.permutations(list(space)))
    content = {"name": "x", "data": DATA, "space": {name: space[name] for name in names}}
    return build_space(Experiment.model_validate(content), stage_counts())


def states(space: Space, name: str, values: Mapping[str, Any]) -> bool:
    """Whether a parameter applies, worked out from its conditions one by one."""
    for other, wanted in space.parameters[name].when.items():
        options = wanted if isinstance(wanted, list) else [wanted]
        if not any(values[other] == option for option in options):
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**31 - 1))
def test_a_conditional_parameter_is_sampled_exactly_where_its_condition_holds(
    space: Space, seed: int
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    config = suggest(trial, space)
    values = config.model_dump()
    sampled = {name.split(".")[0] for name in trial.params}
    assert sampled == {name for name in space.parameters if states(space, name, values)}
    assert all(space.contains(name, values[name], config.backbone) for name in sampled)
    assert TrialConfig(**json.loads(json.dumps(values))) == config
    # Asked again, as after a crash, the trial is the same.
    assert suggest(optuna.Trial(study, trial._trial_id), space) == config


@settings(max_examples=150, deadline=None)
@given(space=spaces())
def test_the_number_of_configurations_is_that_of_the_listed_ones(space: Space) -> None:
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
        assert all(space.contains(n, v, config.backbone) for n, v in values.items())
