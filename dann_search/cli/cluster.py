"""Commands that check a cluster's file, this machine, or the nodes of a cluster."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from dann_search.cli.app import Json, app, emit
from dann_search.cli.search import SetKeys
from dann_search.outputs.cluster import Doctor, Finding

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
    from dann_search.cluster.validate_cluster import validate_cluster as validate

    result = validate(file, space, storage, set_ or [])
    emit(as_json, result.model_dump(mode="json"), *_listing(file, result.findings))
    if not result.valid:
        raise typer.Exit(2)


def _listing(file: Path, findings: list[Finding]) -> Iterator[Text]:
    colours = {"error": "red", "warning": "yellow"}
    for one in findings:
        place = one.file if one.line is None else f"{one.file}:{one.line}"
        parts = [one.severity, place, *([one.key] if one.key else []), one.message]
        yield Text(": ".join(parts), style=colours[one.severity])
    errors = sum(one.severity == "error" for one in findings)
    counts = {"error": errors, "warning": len(findings) - errors}
    totals = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items())
    yield Text(f"{file}: {totals}")


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
    from dann_search.cluster.doctor.run import examine

    report = examine(address, space, storage, set_ or [])
    emit(as_json, report.model_dump(mode="json"), *_lines(report))
    if not report.ok:
        raise typer.Exit(1)


def _lines(report: Doctor) -> Iterator[Text]:
    for check in report.checks:
        mark, style = ("ok ", "green") if check.ok else ("RED", "bold red")
        cause = check.found if check.ok else f"{check.found}. Remedy: {check.remedy}"
        yield Text.assemble((mark, style), f" {check.name}: {check.node}: {cause}")
    for left_out in report.not_checked:
        yield Text(f"not checked: {left_out}", style="dim")
