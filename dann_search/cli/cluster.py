"""Commands about machines: is a cluster's file right, is this machine or that cluster fit."""

from pathlib import Path
from typing import Annotated

import typer

from dann_search.cli.app import Json, app, emit, out
from dann_search.cli.search import SetKeys

Space = Annotated[
    Path | None, typer.Option(metavar="SPACE.yaml", help="The experiment file it is to carry.")
]
Storage = Annotated[
    str | None, typer.Option(metavar="DIR|URL", help="Where experiments are to lie [the space's].")
]


@app.command("validate-cluster")
def validate_cluster(
    file: Annotated[
        Path, typer.Argument(metavar="cluster.yaml", help="For ray up.", show_default=False)
    ],
    space: Space = None,
    storage: Storage = None,
    set_: SetKeys = None,
    as_json: Json = False,
) -> None:
    """Find what Ray's own validation of a cluster file misses.

    Example: dann-search validate-cluster cluster.yaml --space search_spaces/spot_cluster.yaml
    """
    from rich.text import Text

    from dann_search.cluster.file.finding import count
    from dann_search.cluster.validate_cluster import validate_cluster as validate

    found = validate(file, space, storage, set_ or [])
    errors = sum(finding.severity == "error" for finding in found)
    emit(as_json, {"valid": not errors, "findings": [finding.to_json() for finding in found]})
    if not as_json:
        colours = {"error": "red", "warning": "yellow"}
        lines = [Text(str(finding), style=colours[finding.severity]) for finding in found]
        numbers = f"{count(errors, 'error')}, {count(len(found) - errors, 'warning')}"
        for line in [*lines, Text(f"{file}: {numbers}")]:
            out.print(line, soft_wrap=True)
    if errors:
        raise typer.Exit(2)


@app.command()
def doctor(
    address: Annotated[
        str, typer.Option(metavar="local|auto|HOST:PORT", help="This machine, or a cluster.")
    ] = "local",
    space: Space = None,
    storage: Storage = None,
    set_: SetKeys = None,
    as_json: Json = False,
) -> None:
    """Check that this machine, or every node of a cluster, is fit for a search.

    Example: dann-search doctor --space search_spaces/quickstart.yaml
    """
    from rich.text import Text

    from dann_search.cluster.doctor.run import examine

    report = examine(address, space, storage, set_ or [])
    emit(as_json, report.to_json())
    if not as_json:
        for check in report.checks:
            mark, style = ("ok ", "green") if check.ok else ("RED", "bold red")
            cause = check.found if check.ok else f"{check.found}. Remedy: {check.remedy}"
            line = Text.assemble((mark, style), f" {check.name}: {check.node}: {cause}")
            out.print(line, soft_wrap=True)
        for left_out in report.not_checked:
            out.print(Text(f"not checked: {left_out}", style="dim"), soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)
