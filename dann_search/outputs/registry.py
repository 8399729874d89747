"""Which command prints which object."""

from dataclasses import dataclass
from typing import Any, Union

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from dann_search.errors import InputError, nearest
from dann_search.outputs import cluster, comparison, models, report, search, space, trials, viewers
from dann_search.outputs.base import Failure, Output

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Printed:
    """An object that a command prints, and the words that make it print this one."""

    words: str
    model: type[Output]


OUTPUTS: dict[str, tuple[Printed, ...]] = {
    "launch": (
        Printed("launch SPACE.yaml", search.SearchEnded),
        Printed("launch SPACE.yaml --address http://… --detach", search.Submitted),
    ),
    "resume": (
        Printed("resume EXPERIMENT", search.SearchEnded),
        Printed("resume EXPERIMENT --address http://… --detach", search.Submitted),
    ),
    "attach": (Printed("attach EXPERIMENT", search.SearchEnded),),
    "stop": (Printed("stop EXPERIMENT", search.Stopped),),
    "space": (Printed("space SPACE.yaml", space.Space),),
    "schema": (Printed("schema [COMMAND]", space.JsonSchema),),
    "status": (
        Printed("status EXPERIMENT", trials.Status),
        Printed("status", trials.AllExperiments),
    ),
    "leaderboard": (Printed("leaderboard EXPERIMENT", trials.Leaderboard),),
    "gc": (Printed("gc EXPERIMENT", trials.CleanedUp),),
    "compare": (Printed("compare EXPERIMENT", comparison.Comparison),),
    "report": (Printed("report EXPERIMENT", report.Report),),
    "best": (Printed("best EXPERIMENT", models.BestModel),),
    "evaluate": (Printed("evaluate EXPERIMENT|MODEL_DIR", models.Evaluation),),
    "export": (Printed("export EXPERIMENT|MODEL_DIR --format FORMAT", models.Export),),
    "predict": (Printed("predict EXPERIMENT|MODEL_DIR PATH…", models.Predictions),),
    "tensorboard": (Printed("tensorboard EXPERIMENT", viewers.TensorBoard),),
    "dashboard": (Printed("dashboard EXPERIMENT", viewers.Dashboard),),
    "validate-cluster": (Printed("validate-cluster cluster.yaml", cluster.ClusterFile),),
    "doctor": (Printed("doctor", cluster.Doctor),),
}
"""By command, in the order of the program's help."""


def parse_output(command: str, text: str) -> Output:
    """What a command printed with ``--json``, as its model; a ``Failure`` where it failed.

    Raises:
        InputError: there is no such command.
        pydantic.ValidationError: this is none of the objects it prints.
    """
    kind: Any = Union[tuple(_kinds(command))]  # noqa: UP007
    printed: Output = TypeAdapter(kind).validate_json(text)
    return printed


def output_schema(command: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what a command prints with ``--json``, failures included.

    Raises:
        InputError: there is no such command.
    """
    kinds = _kinds(command)
    places, schema = models_json_schema([(kind, "validation") for kind in kinds])
    return {
        "$schema": DIALECT,
        "title": f"dann-search {command} --json",
        "anyOf": [places[(kind, "validation")] for kind in kinds],
        "$defs": schema["$defs"],
    }


def _kinds(command: str) -> list[type[Output]]:
    if command not in OUTPUTS:
        raise InputError(f"no command '{command}'; {nearest(command, OUTPUTS)}")
    return [*(one.model for one in OUTPUTS[command]), Failure]
