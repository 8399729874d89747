"""What every command shares: the program, common arguments, one way to print a result."""

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup


class Interrupted(Exception):
    """A KeyboardInterrupt, in a form that typer does not turn into a bare exit code."""


class Commands(TyperGroup):
    """The commands; how an interruption is told is for ``main`` to say."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            raise Interrupted(*exc.args) from exc


app = typer.Typer(
    name="dann-search",
    cls=Commands,
    help="Find the network that classifies an unlabelled image domain best.\n\n"
    "Example: dann-search launch search_spaces/quickstart.yaml",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Experiment = Annotated[
    str,
    typer.Argument(help="Folder of an experiment, or its name under runs/.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

# What people called their classes, folders and files may look like rich's markup, or emoji.
out = Console(markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


@dataclass
class Answer:
    """The one JSON object of a run, on standard output."""

    given: bool = False

    def give(self, content: Any) -> None:
        """Print it, unless there was one: who reads takes the whole of the output for one object.

        A server, say, has told where it answers before it fails or is interrupted.
        """
        if not self.given:
            print(json_text(content))
        self.given = True


answer = Answer()


def emit(as_json: bool, content: Any, *shown: Any) -> None:
    """Print the result: one JSON object for scripts, else what people read."""
    if as_json:
        answer.give(content)
        return
    for item in shown:
        # Not broken by us: a command in a line of text can be copied whole.
        out.print(item, soft_wrap=isinstance(item, Text))


def json_text(content: Any) -> str:
    """JSON as other languages read it, too: what is no number is null, for nan is not JSON."""
    try:
        return json.dumps(content, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(content), allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
