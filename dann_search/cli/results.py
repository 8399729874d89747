"""Commands about a search: status, leaderboard, gc, compare, report."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err, out
from dann_search.errors import InputError
from dann_search.search.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from dann_search.results.status import Snapshot


@app.command()
def status(
    experiment: Annotated[
        str | None,
        typer.Argument(help="Folder of an experiment, or of several, or a name [all under runs/]."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep showing it until the search ends, or Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between two updates of --watch.", min=0.1)
    ] = 2.0,
    as_json: Json = False,
) -> None:
    """Show what is running, done, and best so far.

    Example: dann-search status quickstart --watch
    """
    from dann_search.cli import tables
    from dann_search.outputs.trials import AllExperiments
    from dann_search.results import status as room
    from dann_search.results.reader import experiment_names, open_experiment
    from dann_search.storage.layout import default_storage

    if experiment is not None and watch:
        _wait_for(experiment, interval)
    folder, storage = None, default_storage()
    if experiment is not None:
        try:
            folder = open_experiment(experiment)
        except InputError:
            # Listing a bucket asks for every folder in it: only where this is no experiment.
            if not experiment_names(experiment):
                raise
            storage = experiment
    one = folder is not None

    def read() -> list[room.Snapshot]:
        return [room.snapshot(folder)] if folder else room.all_snapshots(storage)

    interrupted = watch and _watched(read, interval, one, as_json)
    found = read()
    content: Any = AllExperiments(experiments=[each.status for each in found])
    if one:
        content = found[0].status
    emit(as_json, content, tables.experiments(found), *(tables.details(found[0]) if one else ()))
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _watched(
    read: "Callable[[], list[Snapshot]]", interval: float, one: bool, as_json: bool
) -> bool:
    """Show experiments until no search runs any more; return whether Ctrl-C ended it."""
    from dann_search.cli.watch import LiveView, watch
    from dann_search.results.lines import LinesView

    live = out.is_terminal and not as_json
    lines = sys.stderr if as_json else sys.stdout
    try:
        watch(read, LiveView(out, one) if live else LinesView(lines, one), interval)
    except KeyboardInterrupt:
        return True
    return False


def _wait_for(experiment: str, interval: float) -> None:
    """Wait while a job was submitted that has not written its experiment yet."""
    from dann_search.cluster.job_record import read_job, seen_here
    from dann_search.results.reader import possible_folders

    found = [one for one in possible_folders(experiment) if one.record.exists() or read_job(one)]
    if not found or found[0].record.exists() or not seen_here(found[0]):
        return
    err.print(
        f"waiting for the job to begin; its output: dann-search attach {found[0]}", soft_wrap=True
    )
    while not found[0].record.exists():
        time.sleep(interval)
        found[0].fetch(found[0].record)


@app.command()
def leaderboard(
    experiment: Experiment,
    top: Annotated[
        int | None,
        typer.Option(help="Only the N first trials [50; with --json all].", metavar="N", min=1),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only trials that meet it: backbone=resnet50, epochs>=4; repeatable.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="Order by a value, smallest first [best first].", metavar="NAME[:desc]"),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated parameters to show, a column each [all that differ, in one].",
            metavar="NAMES",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List trials with their parameters, best first.

    Example: dann-search leaderboard quickstart --top 5
    """
    from dann_search.cli import tables
    from dann_search.results import leaderboard as room
    from dann_search.results.choose import selected
    from dann_search.results.reader import open_experiment

    board = selected(room.leaderboard(open_experiment(experiment)), where or (), sort)
    names = [name.strip() for name in columns.split(",")] if columns else None
    table = () if as_json else tables.leaderboard(board, top, names)
    emit(as_json, board.model_copy(update={"trials": board.trials[:top]}), *table)


@app.command()
def gc(
    experiment: Experiment,
    keep: Annotated[
        int, typer.Option(help="Number of best trials whose models are kept.", min=1)
    ] = 5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be deleted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what a search no longer needs: models of lesser trials, logs; less while it runs.

    Example: dann-search gc quickstart --dry-run
    """
    from dann_search.cli import tables
    from dann_search.results.clean_up import clean_up
    from dann_search.results.reader import open_experiment

    result = clean_up(open_experiment(experiment), keep, dry_run)
    emit(as_json, result, tables.cleaned_up(result))


@app.command()
def compare(
    experiment: Experiment,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: methods of training.method, and lambda_0, frozen_features, "
            "tllib_dann and target_supervised. By default the winner's method and the baselines, "
            "without target_supervised, which reads the target's labels."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of trainings per method.", min=2)] = 3,
    tune: Annotated[
        int | None,
        typer.Option(
            help="Give each baseline a search of its own of N trials, too.", metavar="N", min=1
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the winner and baselines again; compare them on the test split, with intervals.

    Example: dann-search compare quickstart --seeds 5
    """
    from dann_search.api import retraining
    from dann_search.cli.bars import late_bar
    from dann_search.cli.evaluation_tables import comparison_table
    from dann_search.results.reader import open_experiment

    chosen = methods.split(",") if methods else None
    # Searches of baselines keep standard error for themselves until the end, so no bar is there.
    has_bar = err.is_terminal and not as_json and tune is None
    with late_bar("scoring runs", "computing intervals") as progress:
        result = retraining.compare(
            experiment,
            methods=chosen,
            seeds=seeds,
            tune=tune,
            scored=progress if has_bar else None,
        )
    table = comparison_table(result, open_experiment(experiment))
    emit(as_json, result, table)


@app.command()
def report(
    experiment: Experiment,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="The file [EXPERIMENT/report/index.html].")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for the figures as PNG and SVG.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing --out and existing figures.")
    ] = False,
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
    emit(as_json, written, report_table(written))
