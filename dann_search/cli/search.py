"""Commands that search, here or elsewhere, and what a file would search."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err
from dann_search.errors import InputError
from dann_search.search.interrupts import INTERRUPTED

SetKeys = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")
]
Address = Annotated[
    str,
    typer.Option(
        metavar="local|auto|HOST:PORT|http://HEAD:8265",
        help="Ray cluster: one of its own here, one this machine is in, or a job server.",
    ),
]
Detach = Annotated[
    bool, typer.Option("--detach", help="With a job server: submit and return at once.")
]

JOB_SERVER = ("http://", "https://")


@app.command()
def launch(
    space: Annotated[Path, typer.Argument(help="The experiment file.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the experiment.")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="Where experiments lie [runs].")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.", min=1)] = None,
    set_: SetKeys = None,
    address: Address = "local",
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Validate an experiment file, run its search, write the best model.

    Example: dann-search launch search_spaces/quickstart.yaml --trials 20 --set training.epochs=5
    """
    options: dict[str, Any] = {
        "name": name, "storage": storage, "trials": trials, "sets": set_ or []
    }  # fmt: skip
    if _is_job(address, detach):
        from dann_search.cluster import remote_control

        _follow(remote_control.submit(space, address, **options), detach, as_json)
        return
    from dann_search.api import launching

    _show_search(
        as_json, launching.launch(space, address=address, plain=not _live(as_json), **options)
    )


@app.command()
def resume(
    experiment: Experiment,
    add_trials: Annotated[int, typer.Option(help="Search so many trials more.", min=0)] = 0,
    set_: SetKeys = None,
    allow_wider_space: Annotated[
        bool, typer.Option("--allow-wider-space", help="Accept ranges that only grew.")
    ] = False,
    address: Address = "local",
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Go on with a stopped search, or add trials to a finished one.

    Example: dann-search resume quickstart --add-trials 10
    """
    options: dict[str, Any] = {
        "add_trials": add_trials, "sets": set_ or [], "allow_wider_space": allow_wider_space
    }  # fmt: skip
    if _is_job(address, detach):
        from dann_search.cluster import remote_control

        _follow(remote_control.submit_resume(experiment, address, **options), detach, as_json)
        return
    from dann_search.api import launching

    result = launching.resume(experiment, address=address, plain=not _live(as_json), **options)
    _show_search(as_json, result)


@app.command()
def attach(
    experiment: Experiment,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="http://HEAD:8265", help="Job server, where not as it was submitted to."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow a search that runs as a job on a cluster, to its end.

    Example: dann-search attach s3://bucket/experiments/office
    """
    if address is not None and not address.startswith(JOB_SERVER):
        raise InputError(f"--address {address}: must be a job server's, such as http://HEAD:8265")
    _follow(experiment, False, as_json, address)


@app.command()
def stop(experiment: Experiment, as_json: Json = False) -> None:
    """Have a search, wherever it runs, end as after Ctrl-C: all that was trained is kept.

    Example: dann-search stop quickstart
    """
    from dann_search.cluster import remote_control

    result = remote_control.stop(experiment)
    message = f"stopped; go on with: dann-search resume {result.experiment}"
    emit(as_json, result.model_dump(mode="json"), _plain(message))


def _is_job(address: str, detach: bool) -> bool:
    if address.startswith(JOB_SERVER):
        return True
    if detach:
        raise InputError(
            f"--detach: only a job server (--address http://…) keeps a search that was left alone, "
            f"got --address {address}"
        )
    return False


def _follow(experiment: Any, detach: bool, as_json: bool, address: str | None = None) -> None:
    """Print what a job prints, on standard error, and how it ended."""
    from dann_search.cluster import remote_control

    if not isinstance(experiment, str):
        lines = [
            f"submitted as job {experiment.job} to {experiment.address}",
            *remote_control.next_steps(experiment),
        ]
        if detach:
            emit(as_json, experiment.model_dump(mode="json"), *map(_plain, lines))
            return
        for line in lines:
            err.print(line, markup=False, soft_wrap=True)
    try:
        result = remote_control.attach(experiment, address=address)
    except KeyboardInterrupt:
        err.print("left; the search goes on", markup=False)
        raise
    evaluate = f"next: dann-search evaluate {result.experiment}"
    emit(as_json, result.model_dump(mode="json"), _plain(evaluate))
    if result.stopped_by == "interrupt":
        raise typer.Exit(INTERRUPTED)


def _live(as_json: bool) -> bool:
    return not as_json and err.is_terminal


def _show_search(as_json: bool, result: Any) -> None:
    from dann_search.tracking.progress import describe, duration

    outcome, best, content = result.outcome, result.best, result.to_json()
    where = outcome.folder
    counts = outcome.counts
    lines = [
        f"{counts.completed} trials completed, {counts.pruned} stopped early, "
        f"{counts.failed} failed in {duration(outcome.elapsed_s)}"
    ]
    if best:
        by = "" if result.objective == "f1_macro" else f", chosen by {result.objective}"
        lines.append(
            f"best: trial {best.number}, macro-F1 {best.f1_macro_val:.3f} on target val{by}"
        )
        if best.confirmed_mean is not None:
            lines.append(
                f"    {best.confirmed_mean:.3f} on average over {len(best.confirmed)} new seeds"
            )
        if result.confirmation and not result.confirmation.is_whole:
            lines.append(f"    {result.confirmation}; it is best by the search alone")
        lines.append(f"    {describe(best.params)}")
        lines.append(f"    {where}/best/model.safetensors")
    interrupted = outcome.stopped_by != "trials"
    if interrupted:
        lines.append(f"stopped: {result.why}; go on with: dann-search resume {where}")
    else:
        lines.append(f"next: dann-search evaluate {where}")
    emit(as_json, content, *(_plain(line) for line in lines))
    if outcome.stopped_by == "interrupt":
        raise typer.Exit(INTERRUPTED)


def _plain(line: str) -> Any:
    from rich.text import Text

    return Text(line, overflow="fold")


@app.command()
def space(
    file: Annotated[
        Path, typer.Argument(metavar="SPACE.yaml", help="The experiment file.", show_default=False)
    ],
    set_: SetKeys = None,
    samples: Annotated[int, typer.Option(help="Configurations to sample.", min=0, max=1000)] = 5,
    as_json: Json = False,
) -> None:
    """Explain a search space: dimensions, conditions, size, sampled configurations.

    Example: dann-search space search_spaces/quickstart.yaml
    """
    from dann_search.config.load import load_experiment
    from dann_search.models.registry import stage_counts
    from dann_search.study.explain import explain

    stages = stage_counts()
    # One may look at a space before its data are there.
    experiment, found = load_experiment(file, stages, sets=set_ or [], check_files=False)
    result = explain(experiment, found, samples)
    emit(as_json, result.to_json(), result.render())


@app.command()
def schema(
    command: Annotated[
        str | None, typer.Argument(help="Of what this one prints with --json, instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of the experiment file, for editors, or of a command's JSON.

    Example: dann-search schema > dann-search.schema.json
    """
    if command is None:
        from dann_search.config.schema import experiment_schema

        content = experiment_schema()
    else:
        from dann_search.outputs import output_schema

        content = output_schema(command)
    if as_json:
        emit(True, content)
    else:
        print(json.dumps(content, indent=2))
