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
    schema_of(command).validate(content)
    return content


def failed(command: str, text: str) -> str:
    """The message of a command that printed a failure, and nothing else."""
    output = parse_output(command, text)
    assert isinstance(output, Failure), text
    schema_of(command).validate(json.loads(text))
    return output.error


@cache
def schema_of(command: str) -> Draft202012Validator:
    """What holds the JSON of a command against its schema, which takes a moment to make."""
    return Draft202012Validator(output_schema(command))
