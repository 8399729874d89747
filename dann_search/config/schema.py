"""The JSON Schema of the experiment file, for editors that complete and check it."""

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from dann_search.config.experiment import Experiment
from dann_search.config.parameter import Parameter
from dann_search.config.space import NOT_SEARCHED
from dann_search.config.trial import TrialConfig

TEMPLATE = "#/$defs/{model}"


def experiment_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the file as it is written, with the file's own shorthands."""
    _, schema = models_json_schema(
        [(Experiment, "validation"), (TrialConfig, "validation")], ref_template=TEMPLATE
    )
    definitions = schema["$defs"]
    parameter = TypeAdapter(Parameter).json_schema(ref_template=TEMPLATE)
    definitions |= parameter.pop("$defs")
    definitions["Parameter"] = parameter
    trial, root = definitions["TrialConfig"], definitions.pop("Experiment")
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
    # A path alone stands for {file: path}, one number for three channels.
    weights = definitions["WeightsFile"]
    for key in ("mean", "std"):
        weights["properties"][key]["anyOf"].append({"type": "number"})
    definitions["WeightsFile"] = {"anyOf": [{"type": "string"}, weights]}
    del root["required"]  # the name is the file's by default, and data may come from extends
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": "dann-search experiment",
        "anyOf": [{"required": ["data"]}, {"required": ["extends"]}],
        "$defs": definitions,
    }
