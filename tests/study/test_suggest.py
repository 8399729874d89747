"""From a space to configurations, by Optuna's define-by-run."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_search.config.load import load_experiment
from dann_search.config.space import Space
from dann_search.models.registry import stage_counts
from dann_search.study.suggest import suggest
from tests.studies import space_of

optuna.logging.set_verbosity(optuna.logging.ERROR)


def sample(space: Space, seed: int) -> tuple[optuna.Trial, Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    return trial, suggest(trial, space)


@pytest.fixture(scope="module")
def quickstart() -> Space:
    path = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"
    return load_experiment(path, stage_counts())[1]


def test_depth_never_exceeds_the_stages_of_the_backbone() -> None:
    backbones = {"choice": ["dann_cnn", "resnet18"]}
    space = space_of({"backbone": backbones, "unfrozen_depth": {"int": [1, 5]}})
    for seed in range(50):
        trial, config = sample(space, seed)
        assert 1 <= config.unfrozen_depth <= stage_counts()[config.backbone]
        assert f"unfrozen_depth.{config.backbone}" in trial.params


def test_a_trial_cut_off_while_it_was_asked_for_is_completed_not_changed(quickstart: Space) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    trial = study.ask()
    backbone = trial.suggest_categorical("backbone", ["dann_cnn", "shufflenet_v2_x0_5"])
    storage_id = trial._trial_id
    config = suggest(optuna.Trial(study, storage_id), quickstart)
    assert config.backbone == backbone
    assert suggest(optuna.Trial(study, storage_id), quickstart) == config


def test_parameters_of_the_adversary_are_not_sampled_for_a_method_without_one() -> None:
    space = space_of({"method": {"choice": ["source_only"]}, "lambda_max": {"uniform": [0.1, 1]}})
    trial, config = sample(space, 0)
    assert "lambda_max" not in trial.params
    assert config.lambda_max == 1.0


@settings(max_examples=40)
@given(
    low=st.decimals("0", "20", places=3),
    step=st.decimals("0.001", "3", places=3),
    count=st.integers(1, 40),
    data=st.data(),
)
def test_a_condition_on_a_value_between_steps_of_a_range_holds_where_that_value_is_proposed(
    low: Decimal, step: Decimal, count: int, data: st.DataObject
) -> None:
    """What Optuna computes from 0.1 and two steps of 0.1 is 0.30000000000000004, not 0.3."""
    index = data.draw(st.integers(0, count))
    written, high = float(low + index * step), float(low + count * step)
    space = space_of(
        {
            "rotation_degrees": {"uniform": [float(low), high], "step": float(step)},
            "translation": {"uniform": [0, 0.5], "when": {"rotation_degrees": written}},
        },
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"rotation_degrees": min(float(low) + index * float(step), high)})
    trial = study.ask()
    config = suggest(trial, space)
    assert "translation" in trial.params
    assert config.model_dump()["rotation_degrees"] == written
    assert suggest(optuna.Trial(study, trial._trial_id), space) == config
    recorded = {**config.model_dump(), "rotation_degrees": trial.params["rotation_degrees"]}
    assert "translation" in space.active(recorded)
