"""Which command prints which model."""

from typing import Any, Union

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from dann_search.errors import InputError, nearest
from dann_search.outputs import (
    cluster,
    comparison,
    models,
    report,
    search,
    space,
    trials,
)
from dann_search.outputs.base import Failure, Output

DIALECT = "https://json-schema.org/draft/2020-12/schema"

OUTPUTS: dict[str, dict[str, type[Output]]] = {
    "launch": {
        "launch SPACE.yaml": search.SearchEnded,
        "launch SPACE.yaml --address http://… --detach": search.Submitted,
        "launch SPACE.yaml --address http://… --storage UNSEEN": search.JobEnded,
    },
    "resume": {
        "resume EXPERIMENT": search.SearchEnded,
        "resume EXPERIMENT --address http://… --detach": search.Submitted,
        "resume UNSEEN --address http://…": search.JobEnded,
    },
    "attach": {"attach EXPERIMENT": search.SearchEnded, "attach UNSEEN": search.JobEnded},
    "stop": {"stop EXPERIMENT": search.Stopped},
    "adapt": {"adapt SOURCE TARGET": comparison.Adapted},
    "init": {"init SPACE.yaml": space.NewFile},
    "space": {"space SPACE.yaml": space.SpaceSummary, "space --list": space.ShippedSpaces},
    "schema": {"schema [COMMAND]": space.JsonSchema},
    "status": {"status EXPERIMENT": trials.Status, "status": trials.AllExperiments},
    "leaderboard": {"leaderboard EXPERIMENT": trials.Leaderboard},
    "gc": {"gc EXPERIMENT": trials.CleanedUp},
    "compare": {"compare EXPERIMENT": comparison.Comparison},
    "report": {"report EXPERIMENT": report.Report},
    "best": {"best EXPERIMENT": models.BestModel},
    "evaluate": {"evaluate EXPERIMENT|MODEL_DIR": models.Evaluation},
    "export": {"export EXPERIMENT|MODEL_DIR --format FORMAT": models.Export},
    "predict": {"predict EXPERIMENT|MODEL_DIR PATH…": models.Predictions},
    "tensorboard": {"tensorboard EXPERIMENT": search.TensorBoard},
    "dashboard": {"dashboard EXPERIMENT": search.Dashboard},
    "watch": {
        "watch EXPERIMENT": trials.Status,
        "watch EXPERIMENT --serve": search.LivePage,
    },
    "validate-cluster": {"validate-cluster cluster.yaml": cluster.ClusterFile},
    "doctor": {"doctor": cluster.Doctor},
}
"""By command, in the order of the program's help: the model of each form of the command."""


def parse_output(command: str, text: str) -> Output:
    """Parse what a command printed with ``--json``; a ``Failure`` if it failed.

    Raises:
        InputError: there is no such command.
        pydantic.ValidationError: the text is none of the objects that the command prints.
    """
    kind: Any = Union[tuple(_models(command))]  # noqa: UP007
    printed: Output = TypeAdapter(kind).validate_json(text)
    return printed


def output_schema(command: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a command's JSON, failures included.

    Raises:
        InputError: there is no such command.
    """
    kinds = _models(command)
    references, schema = models_json_schema([(kind, "validation") for kind in kinds])
    return {
        "$schema": DIALECT,
        "title": f"dann-search {command} --json",
        "anyOf": [references[(kind, "validation")] for kind in kinds],
        "$defs": schema["$defs"],
    }


def _models(command: str) -> list[type[Output]]:
    if command not in OUTPUTS:
        raise InputError(f"no command '{command}'; {nearest(command, OUTPUTS)}")
    return [*OUTPUTS[command].values(), Failure]
