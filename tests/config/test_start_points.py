"""Published recipes and the user's own points, as near as a space allows."""

from pathlib import Path
from typing import Any

import pytest

from dann_search.config.load import load_experiment
from dann_search.config.space import NOT_SEARCHED, Space
from dann_search.config.start_points import nearest_value, published_recipes, start_points
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from tests.experiments import space_file

SPACE: dict[str, Any] = {
    "backbone": {"choice": ["resnet18", "resnet50"]},
    "unfrozen_depth": {"int": [1, 4]},
    "optimizer": {"choice": ["sgd", "adamw"]},
    "learning_rate": {"loguniform": [1e-4, 5e-3], "per_backbone": {"resnet18": [0.002, 0.05]}},
    "lambda_schedule": {"choice": ["linear", "ganin"]},
    "lambda_gamma": {"uniform": [1, 9], "step": 4},
    "momentum": {"uniform": [0, 0.99]},
    "batch_size": {"choice": [16, 60]},
}
TRAINING = {"epochs": 2, "pretrained": False}


def space_of(tmp_path: Path, **changes: Any) -> Space:
    path = space_file(tmp_path, space=SPACE, training=TRAINING, **changes)
    return load_experiment(path, stage_counts())[1]


def test_published_recipes_are_fitted_to_the_space(tmp_path: Path) -> None:
    paper, tllib = start_points(space_of(tmp_path), [], published=True)
    assert (paper.origin, tllib.origin) == ("DANN paper", "tllib")
    assert set(paper.values) == {"resnet18", "resnet50"}
    assert paper.values["resnet18"] == {
        "unfrozen_depth": 4,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "lambda_schedule": "ganin",
        "lambda_gamma": 9,
        "momentum": 0.9,
        "batch_size": 60,
    }
    assert paper.values["resnet50"]["learning_rate"] == 0.005
    assert set(tllib.values) == {"resnet50"}
    assert tllib.values["resnet50"]["batch_size"] == 16


@pytest.mark.parametrize("origin", ["DANN paper", "tllib"])
def test_a_published_recipe_states_every_searchable_field(origin: str) -> None:
    stated = published_recipes()[origin]
    assert set(stated) == set(TrialConfig.model_fields) - set(NOT_SEARCHED)
    TrialConfig(**stated)


def test_the_sampler_adds_nothing_to_a_published_recipe(tmp_path: Path) -> None:
    searched: dict[str, Any] = {
        "vertical_flip": {"uniform": [0, 0.5]},
        "gradual_unfreezing": {"int": [0, 3]},
        "class_balanced": {"choice": [True, False]},
        "stage_lr_decay": {"uniform": [0.5, 1]},
        "target_augmentation": {"choice": [0.5, 1.0]},
        "precision": {"choice": ["bf16", "fp16"]},
    }
    path = space_file(tmp_path, space=searched, training=TRAINING)
    points = start_points(load_experiment(path, stage_counts())[1], [], published=True)
    neutral = {
        "vertical_flip": 0.0,
        "gradual_unfreezing": 0,
        "class_balanced": False,
        "stage_lr_decay": 1.0,
        "target_augmentation": 1.0,
    }
    # Neither origin trained in half precision, and the space has nothing else: it is left out.
    assert [list(point.values.values()) for point in points] == [[neutral]]


def test_the_users_points_come_after_the_published_and_none_twice(tmp_path: Path) -> None:
    stated: list[dict[str, Any]] = [
        {"optimizer": "adamw"},
        {"optimizer": "adamw"},
        {"optimizer": "sgd", "momentum": 0.5},
    ]
    found = start_points(space_of(tmp_path), stated, published=True)
    assert [p.origin for p in found] == ["DANN paper", "tllib", "start point 1", "start point 3"]
    assert [p.origin for p in start_points(space_of(tmp_path), stated, published=False)] == [
        "start point 1",
        "start point 3",
    ]


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("momentum", 2.0, 0.99),
        ("batch_size", 50, 60),
        ("lambda_gamma", 4.0, 5.0),
        ("unfrozen_depth", 0, 1),
        ("optimizer", "lars", None),
    ],
)
def test_the_nearest_value_is_in_the_space(
    tmp_path: Path, name: str, wanted: Any, expected: Any
) -> None:
    space = space_of(tmp_path)
    assert nearest_value(space, name, wanted, "resnet18") == expected


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ({"momentun": 0.5}, ".momentun: 'momentun' is not searched; did you mean 'momentum'"),
        ({"momentum": 1.5}, ".momentum: must be between 0 and 0.99, got 1.5"),
        ({"optimizer": "lars"}, ".optimizer: must be one of ['sgd', 'adamw'], got 'lars'"),
        ({"lambda_gamma": 4}, ".lambda_gamma: must be between 1 and 9 in steps of 4, got 4"),
        (
            {"backbone": "resnet50", "learning_rate": 0.02},
            ".learning_rate: must be between 0.0001 and 0.005, got 0.02",
        ),
        (
            {"learning_rate": 0.1},
            ".learning_rate: must be between 0.002 and 0.05 for resnet18, or "
            "between 0.0001 and 0.005 for resnet50, got 0.1",
        ),
        (
            {"lambda_schedule": "linear", "lambda_gamma": 5},
            ".lambda_gamma: does not apply: lambda_schedule is 'linear'",
        ),
        (
            {"optimizer": "sgd", "lambda_gamma": 5},
            ".lambda_gamma: applies only where lambda_schedule is 'ganin': "
            "give this point its lambda_schedule too",
        ),
        ({"unfrozen_depth": True}, ".unfrozen_depth: must be between 1 and 4"),
        ({}, ": is empty"),
    ],
)
def test_a_point_outside_the_space_is_refused_with_its_place(
    tmp_path: Path, point: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        space_of(tmp_path, search__start_points=[{"optimizer": "adamw"}, point])
    assert f"search.start_points.1{expected}" in str(caught.value)
    assert "space.yaml:" in str(caught.value)
