"""Commands about experiment files: write one, explain its space, print its schema."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dann_search.cli.app import Json, app, emit, sentence
from dann_search.cli.search import FILE, SetKeys
from dann_search.errors import InputError

if TYPE_CHECKING:
    from dann_search.config.space import Space
    from dann_search.outputs.space import SpaceSummary

Folder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the domain [the file's].")
]


@app.command()
def init(
    out: Annotated[
        Path, typer.Argument(metavar="SPACE.yaml", help="The new file.", show_default=False)
    ],
    from_: Annotated[
        str, typer.Option("--from", metavar="NAME", help="File to copy, see space --list.")
    ] = "image_folders",
    source: Folder = None,
    target: Folder = None,
    as_json: Json = False,
) -> None:
    """Write a commented experiment file for your own folders, to be edited.

    Example: dann-search init my.yaml --source catalogue --target phone
    """
    from dann_search.config.shipped import write_copy
    from dann_search.outputs.space import NewFile

    write_copy(from_, out, source, target)
    lines = (f"wrote {out}", f"next: dann-search space {out}, then dann-search launch {out}")
    emit(as_json, NewFile(file=str(out), copied_from=from_), *map(sentence, lines))


@app.command()
def space(
    file: Annotated[
        Path | None, typer.Argument(metavar="SPACE.yaml", help=FILE, show_default=False)
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the experiment files that come along.")
    ] = False,
    set_: SetKeys = None,
    samples: Annotated[
        int, typer.Option(help="Number of configurations to sample.", min=0, max=1000)
    ] = 5,
    resolved: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.yaml",
            help="Also write the whole file: with what it extends, --set, and absolute paths.",
        ),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate", help="Also time training steps here: hours, memory and disk it will take."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Explain a search space: its dimensions, conditions, size, and sampled configurations.

    Example: dann-search space quickstart
    """
    if list_:
        _list_spaces(as_json)
        return
    if file is None:
        raise InputError("space: needs an experiment file; those that come along: space --list")
    from dann_search.cli.space_tables import space_lines

    result, found = _explained(file, set_ or [], samples, resolved, estimate)
    emit(as_json, result, *space_lines(result, found))


def _explained(
    file: Path, sets: list[str], samples: int, resolved: Path | None, estimate: bool
) -> "tuple[SpaceSummary, Space]":
    from dann_search.config.load import experiment_of, read_source, write_resolved
    from dann_search.data.target_has_labels import fitted_to_target
    from dann_search.models.registry import licences_of, stage_counts
    from dann_search.search.disk_need import disk_need, kept_features
    from dann_search.search.precisions import in_words, settled_precisions
    from dann_search.search.trial_memory import planned
    from dann_search.study.explain import explain
    from dann_search.study.record import with_precisions

    source = read_source(file, sets=sets)
    # A space can be explained before its data exist.
    experiment, found = experiment_of(source, stage_counts(), check_files=False)
    if resolved is not None:
        write_resolved(experiment, resolved)
    with source.placing():
        experiment, labelled = fitted_to_target(experiment)
    settled = settled_precisions(experiment, found)
    found = with_precisions(found, settled)
    need = disk_need(experiment, found)
    disk = str(need) if need else "not known for a backbone of your own"
    if kept := kept_features(experiment.data, found):
        disk = f"{disk}; {kept}"
    plan, licences = planned(experiment, found), licences_of(found.backbones)
    if settled:
        plan = f"{plan}; {in_words(settled)}"
    result = explain(experiment, found, plan, disk, samples, labelled, licences)
    if estimate:
        from dann_search.search import cost

        with source.placing():
            here = cost.estimate(experiment, found, cost.images_of(experiment, found))
        result = result.model_copy(update={"estimate": here})
    return result, found


def _list_spaces(as_json: bool) -> None:
    from dann_search.cli.space_tables import shipped_spaces
    from dann_search.config.shipped import shipped_files, title_of
    from dann_search.outputs.space import ShippedSpace, ShippedSpaces

    found = [
        ShippedSpace(name=name, title=title_of(file), file=str(file))
        for name, file in shipped_files().items()
    ]
    result = ShippedSpaces(spaces=found)
    emit(as_json, result, shipped_spaces(result))


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
