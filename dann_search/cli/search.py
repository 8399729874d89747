"""Commands that search, here or on a cluster, and that explain a search space."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err, sentence
from dann_search.errors import InputError
from dann_search.search.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from dann_search.outputs.search import SearchEnded

SetKeys = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the file.")
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

JOB_SERVER = ("http://", "https://")


@app.command()
def launch(
    space: Annotated[Path, typer.Argument(help="The experiment file.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the experiment.")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="Folder of experiments [runs].")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.", min=1)] = None,
    set_: SetKeys = None,
    address: Address = "local",
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Validate an experiment file, run its search and write the best model.

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
    allow_wider_space: Annotated[
        bool, typer.Option("--allow-wider-space", help="Accept ranges that only grew.")
    ] = False,
    address: Address = "local",
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Resume a stopped search, or add trials to a finished one.

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
    message = f"stopped; go on with: dann-search resume {result.experiment}"
    emit(as_json, result, sentence(message))


def _is_job(address: str, detach: bool) -> bool:
    if address.startswith(JOB_SERVER):
        return True
    if detach:
        raise InputError(
            f"--detach: needs a job server (--address http://…), got --address {address}"
        )
    return False


def _follow(experiment: Any, detach: bool, as_json: bool, address: str | None = None) -> None:
    """Print the output of a job on standard error, and how it ended."""
    from dann_search.cli.tables import next_step
    from dann_search.cluster import remote_control

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
        err.print("left; the search goes on", markup=False)
        raise
    emit(as_json, result, next_step(result))
    if result.stopped_by == "interrupt":
        raise typer.Exit(INTERRUPTED)


def _show_search(as_json: bool, result: "SearchEnded") -> None:
    from dann_search.cli.tables import search_ended

    emit(as_json, result, *search_ended(result))
    if result.stopped_by == "interrupt":
        raise typer.Exit(INTERRUPTED)


@app.command()
def space(
    file: Annotated[
        Path, typer.Argument(metavar="SPACE.yaml", help="The experiment file.", show_default=False)
    ],
    set_: SetKeys = None,
    samples: Annotated[
        int, typer.Option(help="Number of configurations to sample.", min=0, max=1000)
    ] = 5,
    as_json: Json = False,
) -> None:
    """Explain a search space: its dimensions, conditions, size, and sampled configurations.

    Example: dann-search space search_spaces/quickstart.yaml
    """
    from dann_search.cli.tables import search_space
    from dann_search.config.load import experiment_of, read_source
    from dann_search.data.target_has_labels import fitted_to_target
    from dann_search.models.registry import licences_of, stage_counts
    from dann_search.search.trial_memory import planned
    from dann_search.study.explain import explain

    stages = stage_counts()
    # A space can be explained before its data exist.
    source = read_source(file, sets=set_ or [])
    experiment, found = experiment_of(source, stages, check_files=False)
    with source.placing():
        experiment, labelled = fitted_to_target(experiment)
    plan, licences = planned(experiment, found), licences_of(found.backbones)
    result = explain(experiment, found, plan, samples, labelled, licences)
    emit(as_json, result, search_space(result, found))


@app.command()
def schema(
    command: Annotated[
        str | None, typer.Argument(help="A command: print the schema of its --json output instead.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of the experiment file, or of a command's JSON.

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
