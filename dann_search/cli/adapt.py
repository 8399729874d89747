"""The command adapt: from two domains to whether adaptation helps."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from dann_search.cli.app import Json, app, emit, sentence
from dann_search.cli.search import SetKeys

Domain = Annotated[
    str,
    typer.Argument(
        metavar="DOMAIN", help="A folder, a manifest, or digits, digits-m.", show_default=False
    ),
]


@app.command()
def adapt(
    source: Domain,
    target: Domain,
    budget: Annotated[str, typer.Option(help="Time for everything: 90s, 30m, 2h.")] = "30m",
    backbones: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Backbones [two small ones].")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the experiment [SOURCE-to-TARGET].")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="Folder of experiments [runs].")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    set_: SetKeys = None,
    as_json: Json = False,
) -> None:
    """Tell whether adaptation helps on your images: search, evaluate, compare, report.

    Example: dann-search adapt catalogue phone --budget 30m
    """
    from dann_search.api.adapting import adapt as run
    from dann_search.cli.evaluation_tables import comparison_table
    from dann_search.cli.watch import display
    from dann_search.results.reader import open_experiment

    result = run(
        source,
        target,
        budget=budget,
        backbones=backbones.split(",") if backbones else None,
        name=name,
        storage=storage,
        sets=set_ or [],
        display=display(as_json),
    )
    shown: list[RenderableType] = []
    if result.comparison:
        shown.append(comparison_table(result.comparison, open_experiment(result.experiment)))
    shown += [sentence(f"note: {note}") for note in result.notes]
    if result.report:
        shown.append(sentence(f"report: {result.report}"))
    emit(as_json, result, *shown, sentence(result.answer))
    if open_ and result.report:
        webbrowser.open(Path(result.report).as_uri())
