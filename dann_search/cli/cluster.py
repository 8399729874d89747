"""Commands that check a cluster's file, this machine, or the nodes of a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from dann_search.cli.app import Json, app, emit
from dann_search.cli.search import SetKeys

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
    from dann_search.cli.cluster_lines import lines_of_findings
    from dann_search.cluster.validate_cluster import validate_cluster as validate

    result = validate(file, space, storage, set_ or [])
    emit(as_json, result.model_dump(mode="json"), *lines_of_findings(file, result.findings))
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
    from dann_search.cli.cluster_lines import lines_of_checks
    from dann_search.cluster.doctor.run import examine

    report = examine(address, space, storage, set_ or [], nodes)
    emit(as_json, report.model_dump(mode="json"), *lines_of_checks(report))
    if not report.ok:
        raise typer.Exit(1)
