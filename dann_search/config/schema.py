"""The JSON Schema of the experiment file, for editors that complete and check it."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.parameter import Parameter
from dann_search.config.space import NOT_SEARCHED
from dann_search.config.trial import TrialConfig

TEMPLATE = "#/$defs/{model}"
NUMBER = r"^\s*[-+]?[0-9_]*\.?[0-9_]+\.?([eE][-+]?[0-9]+)?\s*$"
WORDS = ("y", "yes", "n", "no", "t", "true", "f", "false", "on", "off", "1", "0")


def experiment_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the file as users write it, shorthands included."""
    _, schema = models_json_schema(
        [(ExperimentConfig, "validation"), (TrialConfig, "validation")], ref_template=TEMPLATE
    )
    definitions = schema["$defs"]
    parameter = TypeAdapter(Parameter).json_schema(ref_template=TEMPLATE)
    definitions |= parameter.pop("$defs")
    definitions["Parameter"] = parameter
    trial, root = definitions["TrialConfig"], definitions.pop("ExperimentConfig")
    searched = {
        name: {"$ref": "#/$defs/Parameter", "description": field.get("description", name)}
        for name, field in trial["properties"].items()
        if name not in NOT_SEARCHED
    }
    root["properties"] |= {
        "training": {"$ref": "#/$defs/TrialConfig"},
        "space": {"type": "object", "properties": searched, "additionalProperties": False},
        "extends": {"type": "string", "description": "another file, whose keys this one overrides"},
    }
    _accept_quoted(definitions)
    _accept_quoted(root["properties"])
    # The file accepts a path instead of {file: path}, and one number instead of three.
    weights = definitions["WeightsFile"]
    for key in ("mean", "std"):
        weights["properties"][key]["anyOf"].append({"type": "number"})
    definitions["WeightsFile"] = {"anyOf": [{"type": "string"}, weights]}
    # The name defaults to that of the file; data may come from the file it extends.
    del root["required"]
    whole = {"properties": {"data": {"required": definitions["DataConfig"].pop("required")}}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": "dann-search experiment",
        "anyOf": [{"required": ["data"], **whole}, {"required": ["extends"]}],
        "$defs": definitions,
    }


def _accept_quoted(node: Any) -> None:
    """Accept quoted numbers, and yes for true, as the loader does: YAML 1.2 reads them as text."""
    if isinstance(node, list):
        for item in node:
            _accept_quoted(item)
    elif isinstance(node, dict):
        for value in node.values():
            _accept_quoted(value)
        if node.get("type") in ("number", "integer"):
            node |= {"type": [node["type"], "string"], "pattern": NUMBER}
        elif node.get("type") == "boolean":
            node |= {"type": ["boolean", "integer", "string"], "pattern": _any_case(WORDS)}
            node |= {"minimum": 0, "maximum": 1}


def _any_case(words: Sequence[str]) -> str:
    """Return a pattern that matches the words in any case; JavaScript has no (?i)."""
    letters = ("".join(f"[{c}{c.upper()}]" for c in word) for word in words)
    return f"^({'|'.join(letters)})$"
