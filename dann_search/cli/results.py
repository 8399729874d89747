"""Commands that read what a search left: status, leaderboard, compare."""

from typing import Annotated

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err, out
from dann_search.search.interrupts import INTERRUPTED


@app.command()
def status(
    experiment: Annotated[
        str | None, typer.Argument(help="Folder or name; all under runs/ where absent.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it until the search ends, or Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between two looks of --watch.", min=0.1)
    ] = 2.0,
    as_json: Json = False,
) -> None:
    """Show what is running, done, and best so far.

    Example: dann-search status quickstart --watch
    """
    from dann_search.cli.watch import LinesView, LiveView, View
    from dann_search.cli.watch import watch as watch_until_done
    from dann_search.results import status as room
    from dann_search.results.reader import open_experiment
    from dann_search.storage.layout import default_storage

    folder = None if experiment is None else open_experiment(experiment)

    def read() -> list[room.ExperimentStatus]:
        return [room.status(folder)] if folder else room.all_experiments(default_storage())

    interrupted = False
    if watch:
        shows = LiveView if out.is_terminal and not as_json else LinesView
        view: View = shows(err if as_json else out, one=folder is not None)
        try:
            watch_until_done(read, view, interval)
        except KeyboardInterrupt:
            interrupted = True
    found = read()
    content = found[0].to_json() if folder else {"experiments": [s.to_json() for s in found]}
    emit(as_json, content, room.render(found), *(found[0].details() if folder else ()))
    if interrupted:
        raise typer.Exit(INTERRUPTED)


@app.command()
def leaderboard(
    experiment: Experiment,
    top: Annotated[
        int | None,
        typer.Option(help="Show only the N best trials [50; with --json all].", metavar="N", min=1),
    ] = None,
    as_json: Json = False,
) -> None:
    """List trials with their parameters, best first.

    Example: dann-search leaderboard quickstart --top 5
    """
    from dann_search.results import leaderboard as room
    from dann_search.results.confirmation import confirmation_of
    from dann_search.results.reader import open_experiment, read_experiment, read_trials

    folder = open_experiment(experiment)
    rows, told = room.ranked(read_trials(folder)), read_experiment(folder)
    confirmation, objective = confirmation_of(told, rows), told.search.objective
    remarks = [str(confirmation)] if confirmation and not confirmation.is_whole else []
    if top is None and len(rows) > room.SHOWN:
        remarks.append(f"the best {room.SHOWN} of {len(rows)} trials; all: --top {len(rows)}")
    content = room.to_json(rows[:top], objective, confirmation)
    emit(as_json, content, room.render(rows[: top or room.SHOWN], objective), *remarks)


@app.command()
def gc(
    experiment: Experiment,
    keep: Annotated[int, typer.Option(help="Best trials whose models stay.", min=1)] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Take away what a finished search no longer needs: checkpoints of lesser trials, logs.

    Example: dann-search gc quickstart --dry-run
    """
    from dann_search.results.clean_up import clean_up
    from dann_search.results.reader import open_experiment

    result = clean_up(open_experiment(experiment), keep, dry_run)
    emit(as_json, result.to_json(), result.render())


@app.command()
def compare(
    experiment: Experiment,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: methods of training.method, and frozen_features, tllib_dann and "
            "target_supervised. By default the winner's method and the baselines, without "
            "target_supervised, which reads the target's labels."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings a method.", min=2)] = 3,
    as_json: Json = False,
) -> None:
    """Train winner and baselines anew; compare them on the test split, with intervals.

    Example: dann-search compare quickstart --seeds 5
    """
    from dann_search.api import retraining

    chosen = methods.split(",") if methods else None
    result = retraining.compare(experiment, methods=chosen, seeds=seeds)
    emit(as_json, result.to_json(), result.render())
