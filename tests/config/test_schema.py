"""The JSON Schema accepts what the loader accepts and refuses what editors should underline."""

import copy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dann_search.config.schema import experiment_schema
from dann_search.config.source import read_yaml

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
