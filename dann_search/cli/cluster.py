"""Commands that check a cluster's file, this machine, or the nodes of a cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from dann_search.cli.app import Json, app, emit
from dann_search.cli.search import SetKeys

if TYPE_CHECKING:
    from dann_search.outputs.cluster import Doctor, Finding

Space = Annotated[
    Path | None,
    typer.Option(metavar="SPACE.yaml", help="Experiment file of the search to run there."),
]
Storage = Annotated[
    str | None, typer.Option(metavar="DIR|URL", help="Storage of experiments [the space's].")
]


@app.command("validate-cluster")
def validate_cluster(
    file: Annotated[
        Path,
        typer.Argument(metavar="cluster.yaml", help="The file for ray up.", show_default=False),
    ],
    space: Space = None,
    storage: Storage = None,
    set_: SetKeys = None,
    as_json: Json = False,
) -> None:
    """Check a cluster file with Ray's validation, and for what Ray does not know.

    Example: dann-search validate-cluster cluster.yaml --space spot_cluster
    """
    from dann_search.cluster.validate_cluster import validate_cluster as validate

    result = validate(file, space, storage, set_ or [])
    emit(as_json, result, *_findings(file, result.findings))
    if not result.valid:
        raise typer.Exit(2)


@app.command()
def doctor(
    address: Annotated[
        str, typer.Option(metavar="local|auto|HOST:PORT", help="This machine, or a Ray cluster.")
    ] = "local",
    nodes: Annotated[
        int | None,
        typer.Option(help="Nodes that the cluster should have, the head included.", min=1),
    ] = None,
    space: Space = None,
    storage: Storage = None,
    set_: SetKeys = None,
    as_json: Json = False,
) -> None:
    """Check that this machine, or every node of a cluster, is ready for a search.

    Example: dann-search doctor --space quickstart
    """
    from dann_search.cluster.doctor.run import examine

    report = examine(address, space, storage, set_ or [], nodes)
    emit(as_json, report, *_checks(report))
    if not report.ok:
        raise typer.Exit(1)


def _findings(file: Path, findings: "list[Finding]") -> Iterator[Text]:
    """Yield a line for each finding, and the totals."""
    colours = {"error": "red", "warning": "yellow"}
    for one in findings:
        place = one.file if one.line is None else f"{one.file}:{one.line}"
        parts = [one.severity, place, *([one.key] if one.key else []), one.message]
        yield Text(": ".join(parts), style=colours[one.severity])
    errors = sum(one.severity == "error" for one in findings)
    counts = {"error": errors, "warning": len(findings) - errors}
    totals = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items())
    yield Text(f"{file}: {totals}")


def _checks(report: "Doctor") -> Iterator[Text]:
    """Yield a line for each check, and for each that was not made."""
    for check in report.checks:
        mark, style = ("ok ", "green") if check.ok else ("RED", "bold red")
        cause = check.found if check.ok else f"{check.found}. Remedy: {check.remedy}"
        yield Text.assemble((mark, style), f" {check.name}: {check.node}: {cause}")
    for left_out in report.not_checked:
        yield Text(f"not checked: {left_out}", style="dim")
