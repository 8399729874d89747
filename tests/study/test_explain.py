"""What a space is said to be."""

from typing import Any

import pytest

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.space import build_space
from dann_search.study.explain import explain


@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("dann", {}),
        ({"choice": ["dann", "mcc"]}, {}),
        ({"choice": ["source_only", "mcc", "dann"]}, {"method": ["mcc", "dann"]}),
        ({"choice": ["source_only", "mcc"]}, {"method": ["mcc"]}),
    ],
)
def test_only_conditions_that_a_recipe_may_fail_are_told(method: Any, when: Any) -> None:
    searched = {"space": {"method": method}} if isinstance(method, dict) else {}
    experiment = ExperimentConfig.model_validate(
        {
            "name": "told",
            "data": {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}},
            "training": {} if searched else {"method": method},
            "space": {**searched.get("space", {}), "lambda_max": {"uniform": [0.1, 1]}},
        }
    )
    space = build_space(experiment, {"resnet50": 5})
    (told,) = [
        one for one in explain(experiment, space, "", "").parameters if one.name == "lambda_max"
    ]
    assert told.when == when
