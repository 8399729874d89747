"""The JSON Schema accepts what the loader accepts and refuses what editors should underline."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from dann_search.config.data import DataConfig, SplitsConfig
from dann_search.config.experiment import BudgetConfig, ConfirmConfig, ResourcesConfig, SearchConfig
from dann_search.config.load import parse_experiment
from dann_search.config.schema import experiment_schema
from dann_search.config.source import SourceFile, read_yaml
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from tests.config.test_grid import DATA, Stated, spaces

SECTIONS: dict[str, type[BaseModel]] = {
    "training": TrialConfig,
    "search": SearchConfig,
    "search.budget": BudgetConfig,
    "search.confirm": ConfirmConfig,
    "resources": ResourcesConfig,
    "data": DataConfig,
    "data.splits": SplitsConfig,
}
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 0.2, 0.6, 1.0, 32, 32.0, [], {}),
    *("auto", "tpe", "s3://a/b", "true", "YES", "off", "0", "1", "0.2", "1e-3", "32", " 1_0 "),
]
FILES = sorted((Path(__file__).parents[2] / "search_spaces").rglob("*.yaml"))
QUICKSTART = next(file for file in FILES if file.stem == "quickstart")


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    content = experiment_schema()
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_shipped_file_is_valid(schema: Draft202012Validator, file: Path) -> None:
    content = read_yaml(file).content
    if file.parent.name == "presets":
        content["data"] = {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}}
    assert [error.message for error in schema.iter_errors(content)] == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("", "serach", {}),
        ("search", "sampler", "tpes"),
        ("training", "learning_rate", "fast"),
        ("training", "momentums", 0.9),
        ("space", "lambda_maxx", {"uniform": [0, 1]}),
        ("space", "lambda_max", {"unifrom": [0, 1]}),
        ("space", "lambda_max", {"uniform": [0, 1, 2]}),
        ("resources", "workers_per_trial", 0),
    ],
)
def test_a_mistake_is_found(
    schema: Draft202012Validator, section: str, key: str, value: Any
) -> None:
    content = copy.deepcopy(read_yaml(QUICKSTART).content)
    assert schema.is_valid(content)
    (content.setdefault(section, {}) if section else content)[key] = value
    assert not schema.is_valid(content)


def test_shorthands_are_known(schema: Draft202012Validator) -> None:
    content = read_yaml(QUICKSTART).content
    content["weights"] = {"resnet18": "a.safetensors", "vgg16": {"file": "b", "mean": 0.5}}
    assert schema.is_valid(content)


def loads(content: dict[str, Any]) -> bool:
    try:
        parse_experiment(SourceFile("experiment", copy.deepcopy(content)), stage_counts())
    except InputError:
        return False
    return True


@pytest.mark.parametrize("section", SECTIONS)
def test_what_the_loader_accepts_is_valid(schema: Draft202012Validator, section: str) -> None:
    accepted = 0
    for name in SECTIONS[section].model_fields:
        for value in VALUES:
            content: dict[str, Any] = {"name": "x", "data": copy.deepcopy(DATA)}
            node = content
            for key in section.split("."):
                node = node.setdefault(key, {})
            node[name] = value
            if loads(content):
                accepted += 1
                assert schema.is_valid(content), f"{section}.{name}: {value!r}"
    assert accepted > len(SECTIONS[section].model_fields)


@settings(max_examples=30)
@given(generated=spaces())
def test_every_generated_space_is_valid(
    schema: Draft202012Validator, generated: tuple[Space, Stated]
) -> None:
    assert schema.is_valid({"data": DATA, "space": generated[1]})


def test_a_file_may_state_a_part_of_the_data_of_the_one_it_extends(
    schema: Draft202012Validator,
) -> None:
    content: dict[str, Any] = {"data": {"image_size": 64}}
    assert not schema.is_valid(content)
    assert schema.is_valid({"extends": "quickstart.yaml", **content})
