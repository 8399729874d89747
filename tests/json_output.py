"""What commands print with --json, held against what ``dann_search.outputs`` says of it."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from dann_search.outputs import output_schema, parse_output
from dann_search.outputs.base import Failure


def printed(command: str, text: str) -> dict[str, Any]:
    """The one object on a command's standard output: it is the command's, and no failure."""
    assert not isinstance(parse_output(command, text), Failure), text
    content: dict[str, Any] = json.loads(text)
    Draft202012Validator(schema_of(command)).validate(content)
    return content


def failed(command: str, text: str) -> str:
    """The message of a command that printed a failure, and nothing else."""
    output = parse_output(command, text)
    assert isinstance(output, Failure), text
    Draft202012Validator(schema_of(command)).validate(json.loads(text))
    return output.error


@cache
def schema_of(command: str) -> dict[str, Any]:
    """The schema of a command's JSON, made once."""
    return output_schema(command)
