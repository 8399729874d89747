"""The command report, which writes a page about a search."""

from pathlib import Path
from typing import Annotated

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err


@app.command()
def report(
    experiment: Experiment,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The file [EXPERIMENT/report/index.html].")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for the figures as PNG and SVG.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML file: results, recipe, search, classes, domains.

    Example: dann-search report quickstart --figures figures
    """
    from dann_search.cli.evaluation_tables import report_table
    from dann_search.report import write_report

    def show(line: str) -> None:
        err.print(line, markup=False, style="dim", soft_wrap=True)

    written = write_report(experiment, out_file, figures, force, progress=show)
    emit(as_json, written.model_dump(mode="json"), report_table(written))
