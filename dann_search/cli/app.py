"""What all commands share: the program, common arguments, one way to print a result."""

import json
import math
import os
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup


class Interrupted(Exception):
    """A KeyboardInterrupt in a form that typer does not turn into a bare exit code."""


class Commands(TyperGroup):
    """The commands; ``main`` reports an interruption."""

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
    "Example: dann-search launch quickstart",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Experiment = Annotated[
    str,
    typer.Argument(help="Folder of an experiment, or its name under runs/.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

# Names of classes, folders and files may look like rich's markup, or like emoji.
out = Console(markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


WIDE = 10_000
"""Columns where no terminal has fewer."""


@dataclass
class Answer:
    """The one JSON object that a run prints on standard output."""

    given: bool = False

    def give(self, content: Any) -> None:
        """Print it, unless one was printed: scripts parse the whole output as one object.

        A server, for example, has printed its address before it fails or is interrupted.
        """
        if not self.given:
            print(json_text(content))
        self.given = True


answer = Answer()


def emit(as_json: bool, content: Any, *shown: Any) -> None:
    """Print a result: as one JSON object for scripts, else ``shown`` for people.

    Args:
        as_json: whether ``--json`` was given.
        content: the result, one of ``dann_search.outputs`` or a mapping.
        shown: what people read.
    """
    if as_json:
        answer.give(content if isinstance(content, dict) else content.model_dump(mode="json"))
        return
    # What goes into a pipe or a file is read by programs, line by line: nothing is broken there.
    piped = not (out.is_terminal or "COLUMNS" in os.environ)
    console = Console(markup=False, emoji=False, width=WIDE) if piped else out
    for item in shown:
        # Lines of text are not broken, so that a command in them can be copied whole.
        console.print(item, soft_wrap=isinstance(item, Text))


def sentence(text: str) -> Text:
    """Return a line that is not broken, so that a command in it can be copied whole."""
    return Text(text, overflow="fold")


def json_text(content: Any) -> str:
    """Return JSON that other languages read, too: nan and infinity, which JSON lacks, are null."""
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
