"""Commands that search, here or on a cluster, and adapt, which also compares and reports."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err, sentence
from dann_search.errors import InputError
from dann_search.search.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from dann_search.outputs.search import SearchEnded

FILE = "The experiment file, or the name of one that comes along (space --list)."

SetKeys = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the file.")
]
Storage = Annotated[
    str | None, typer.Option(metavar="DIR|URL", help="Folder of experiments [runs].")
]
Address = Annotated[
    str,
    typer.Option(
        metavar="local|auto|HOST:PORT|http://HEAD:8265",
        help="Ray cluster: a new one on this machine, the one it belongs to, or a job server.",
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="With a job server: submit the search and return.")
]

Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env", metavar="NAME", help="With a job server: give the job this variable, repeatable."
    ),
]
Domain = Annotated[
    str,
    typer.Argument(
        metavar="DOMAIN", help="A folder, a manifest, or digits, digits-m.", show_default=False
    ),
]

JOB_SERVER = ("http://", "https://")


@app.command()
def launch(
    space: Annotated[Path, typer.Argument(help=FILE, show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the experiment.")] = None,
    storage: Storage = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.", min=1)] = None,
    set_: SetKeys = None,
    address: Address = "local",
    detach: Detach = False,
    env: Env = None,
    as_json: Json = False,
) -> None:
    """Validate an experiment file, run its search and write the best model.

    Example: dann-search launch quickstart --trials 20 --set training.epochs=5
    """
    options: dict[str, Any] = {
        "name": name, "storage": storage, "trials": trials, "sets": set_ or []
    }  # fmt: skip
    if _is_job(address, detach, env):
        from dann_search.cluster import remote_control

        _follow(remote_control.submit(space, address, env=env or (), **options), detach, as_json)
        return
    from dann_search.cli.bars import bar

    with bar("starting"):
        from dann_search.api import launching
        from dann_search.cli.watch import display

    result = launching.launch(space, address=address, display=display(as_json), **options)
    _show_search(as_json, result)


@app.command()
def resume(
    experiment: Experiment,
    add_trials: Annotated[
        int, typer.Option(help="Add N trials to the total.", metavar="N", min=0)
    ] = 0,
    set_: SetKeys = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Take up failed trials again; those that failed by storage always are.",
        ),
    ] = False,
    allow_wider_space: Annotated[
        bool, typer.Option("--allow-wider-space", help="Accept ranges that only grew.")
    ] = False,
    address: Address = "local",
    detach: Detach = False,
    env: Env = None,
    as_json: Json = False,
) -> None:
    """Resume a stopped search, or add trials to a finished one.

    Example: dann-search resume quickstart --add-trials 10
    """
    options: dict[str, Any] = {
        "add_trials": add_trials, "sets": set_ or [], "allow_wider_space": allow_wider_space,
        "retry_failed": retry_failed,
    }  # fmt: skip
    if _is_job(address, detach, env):
        from dann_search.cluster import remote_control

        submitted = remote_control.submit_resume(experiment, address, env=env or (), **options)
        _follow(submitted, detach, as_json)
        return
    from dann_search.cli.bars import bar

    with bar("starting"):
        from dann_search.api import launching
        from dann_search.cli.watch import display

    result = launching.resume(experiment, address=address, display=display(as_json), **options)
    _show_search(as_json, result)


@app.command()
def attach(
    experiment: Experiment,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="http://HEAD:8265", help="Job server, if it is not the one submitted to."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow a search that runs as a job on a cluster until it ends.

    Example: dann-search attach s3://bucket/experiments/office
    """
    if address is not None and not address.startswith(JOB_SERVER):
        raise InputError(f"--address {address}: must be a job server's, such as http://HEAD:8265")
    _follow(experiment, False, as_json, address)


@app.command()
def stop(experiment: Experiment, as_json: Json = False) -> None:
    """Stop a search, wherever it runs, as Ctrl-C does: everything trained so far is kept.

    Example: dann-search stop quickstart
    """
    from dann_search.cluster import remote_control

    result = remote_control.stop(experiment)
    message = f"stopped; continue with: dann-search resume {result.experiment}"
    emit(as_json, result, sentence(message))


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
    storage: Storage = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    set_: SetKeys = None,
    as_json: Json = False,
) -> None:
    """Tell whether adaptation helps on your images: search, evaluate, compare, report.

    Example: dann-search adapt catalogue phone --budget 30m
    """
    from dann_search.cli.bars import bar

    with bar("starting"):
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
    shown: list[Any] = []
    if result.comparison:
        shown.append(comparison_table(result.comparison, open_experiment(result.experiment)))
    shown += [sentence(f"note: {note}") for note in result.notes]
    if result.report:
        shown.append(sentence(f"report: {result.report}"))
    emit(as_json, result, *shown, sentence(result.answer))
    if open_ and result.report:
        import webbrowser

        webbrowser.open(Path(result.report).as_uri())


def _is_job(address: str, detach: bool, env: list[str] | None) -> bool:
    if address.startswith(JOB_SERVER):
        return True
    for option in ["--detach"] * detach + ["--env"] * bool(env):
        raise InputError(
            f"{option}: needs a job server (--address http://…), got --address {address}"
        )
    return False


def _follow(experiment: Any, detach: bool, as_json: bool, address: str | None = None) -> None:
    """Print the output of a job on standard error, and how it ended."""
    from dann_search.cli.tables import next_step
    from dann_search.cluster import remote_control
    from dann_search.outputs.search import JobEnded

    if not isinstance(experiment, str):
        lines = [
            f"submitted as job {experiment.job} to {experiment.address}",
            *remote_control.next_steps(experiment),
        ]
        if detach:
            emit(as_json, experiment, *map(sentence, lines))
            return
        for line in lines:
            err.print(line, markup=False, soft_wrap=True)
    try:
        result = remote_control.attach(experiment, address=address)
    except KeyboardInterrupt:
        err.print("left; the search continues", markup=False)
        raise
    if isinstance(result, JobEnded):
        where = f"ray exec CLUSTER.yaml 'dann-search status {result.experiment}'"
        emit(as_json, result, sentence(f"the job succeeded; see its results there: {where}"))
        return
    emit(as_json, result, next_step(result))
    if result.stopped_by == "interrupt":
        raise typer.Exit(INTERRUPTED)


def _show_search(as_json: bool, result: "SearchEnded") -> None:
    from dann_search.cli.tables import search_ended

    emit(as_json, result, *search_ended(result))
    if result.stopped_by == "interrupt":
        raise typer.Exit(INTERRUPTED)
