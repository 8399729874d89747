"""What every command shares: the program, common arguments, one way to print a result."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    name="dann-search",
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

out, err = Console(), Console(stderr=True, highlight=False)


def emit(as_json: bool, content: Any, *shown: Any) -> None:
    """Print the result: one JSON object for scripts, else what people read."""
    if as_json:
        print(json.dumps(content))
        return
    for item in shown:
        out.print(item)
