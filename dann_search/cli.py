"""The command line: parse, call, print."""

import json
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.exceptions import TyperException

from dann_search import __version__
from dann_search.errors import InputError, RunError

app = typer.Typer(
    name="dann-search",
    help="Find the network that classifies an unlabelled image domain best.\n\n"
    "Example: dann-search launch search_spaces/quickstart.yaml",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Experiment = Annotated[
    str,
    typer.Argument(help="Folder of an experiment, or its name under runs/.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

out, err = Console(), Console(stderr=True, highlight=False)


def emit(as_json: bool, content: Any, *shown: Any) -> None:
    """Print the result: one JSON object for scripts, else what people read."""
    if as_json:
        print(json.dumps(content))
        return
    for item in shown:
        out.print(item)


@app.command()
def launch(
    space: Annotated[Path, typer.Argument(help="The experiment file.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Name of the experiment.")] = None,
    storage: Annotated[Path | None, typer.Option(help="Folder of experiments [runs].")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.", min=1)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Validate an experiment file, run its search, write the best model.

    Example: dann-search launch search_spaces/quickstart.yaml --trials 20 --set training.epochs=5
    """
    from dann_search import api

    result = api.launch(
        space, name=name, storage=storage, trials=trials, sets=set_ or [], plain=not _live(as_json)
    )
    _show_search(as_json, result)


@app.command()
def resume(
    experiment: Experiment,
    add_trials: Annotated[int, typer.Option(help="Search so many trials more.", min=0)] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")
    ] = None,
    allow_wider_space: Annotated[
        bool, typer.Option("--allow-wider-space", help="Accept ranges that only grew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go on with a stopped search, or add trials to a finished one.

    Example: dann-search resume quickstart --add-trials 10
    """
    from dann_search import api

    result = api.resume(
        experiment,
        add_trials=add_trials,
        sets=set_ or [],
        allow_wider_space=allow_wider_space,
        plain=not _live(as_json),
    )
    _show_search(as_json, result)


def _live(as_json: bool) -> bool:
    return not as_json and err.is_terminal


def _show_search(as_json: bool, result: Any) -> None:
    from dann_search.tracking.progress import describe, duration

    outcome, best, content = result.outcome, result.best, result.to_json()
    where = outcome.folder.root
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
        lines.append(f"    {describe(best.params)}")
        lines.append(f"    {where / 'best' / 'model.safetensors'}")
    interrupted = outcome.stopped_by != "trials"
    if interrupted:
        lines.append(f"stopped: {result.why}; go on with: dann-search resume {where}")
    else:
        lines.append(f"next: dann-search evaluate {where}")
    emit(as_json, content, *(_plain(line) for line in lines))
    if outcome.stopped_by == "interrupt":
        raise typer.Exit(130)


def _plain(line: str) -> Any:
    from rich.text import Text

    return Text(line, overflow="fold")


@app.command()
def status(
    experiment: Annotated[
        str | None, typer.Argument(help="Folder or name; all under runs/ where absent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is running, done, and best so far.

    Example: dann-search status quickstart
    """
    from dann_search.layout import DEFAULT_STORAGE
    from dann_search.results import status as room
    from dann_search.results.reader import open_experiment

    if experiment is None:
        found = room.all_experiments(DEFAULT_STORAGE)
        emit(as_json, {"experiments": [s.to_json() for s in found]}, room.render(found))
        return
    state = room.status(open_experiment(experiment))
    emit(as_json, state.to_json(), room.render([state]))


@app.command()
def leaderboard(
    experiment: Experiment,
    top: Annotated[int | None, typer.Option(help="Only the best so many.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """List every trial with its parameters, best first.

    Example: dann-search leaderboard quickstart --top 5
    """
    from dann_search.results import leaderboard as room
    from dann_search.results.reader import open_experiment, read_experiment, read_trials

    folder = open_experiment(experiment)
    rows = room.ranked(read_trials(folder))[:top]
    objective = read_experiment(folder).search.objective
    emit(as_json, room.to_json(rows), room.render(rows, objective))


@app.command()
def best(
    experiment: Experiment,
    rank: Annotated[int, typer.Option(help="1 for the best trial, 2 for the next.", min=1)] = 1,
    trial: Annotated[int | None, typer.Option(help="A trial by its number.", min=0)] = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder to write to.")] = None,
    as_json: Json = False,
) -> None:
    """Write the best model as model.safetensors and model.json.

    Example: dann-search best quickstart --out models/quickstart
    """
    from dann_search.results.best import write_best
    from dann_search.results.reader import open_experiment

    model = write_best(open_experiment(experiment), rank=rank, trial=trial, out=out_dir)
    emit(as_json, model.to_json(), model.render())


@app.command()
def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="EXPERIMENT|MODEL_DIR", help="What to evaluate.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="A labelled folder instead of the test split.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the best model on the target's test split, or on a folder.

    Example: dann-search evaluate quickstart
    """
    from dann_search.results.evaluate import evaluate_target

    result = evaluate_target(target, data)
    emit(as_json, result.to_json(), result.render())


@app.command()
def compare(
    experiment: Experiment,
    methods: Annotated[
        str | None,
        typer.Option(help="Methods, comma-separated; default: the winner's and both baselines."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds a method.", min=2)] = 3,
    as_json: Json = False,
) -> None:
    """Train winner and baselines anew; compare them on the test split.

    Example: dann-search compare quickstart --seeds 5
    """
    from dann_search.results.compare import compare as run
    from dann_search.results.reader import open_experiment

    chosen = methods.split(",") if methods else None
    result = run(
        open_experiment(experiment),
        methods=chosen,
        seeds=seeds,
        progress=lambda line: err.print(line, markup=False),
    )
    emit(as_json, result.to_json(), result.render())


@app.command()
def tensorboard(
    experiment: Experiment,
    port: Annotated[int, typer.Option(help="Port on the loopback.", min=0, max=65535)] = 6006,
    as_json: Json = False,
) -> None:
    """Start TensorBoard on curves and hyperparameters.

    Example: dann-search tensorboard quickstart --port 6007
    """
    import subprocess

    from dann_search.results.reader import open_experiment

    folder = open_experiment(experiment).tensorboard
    options = ["--logdir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/"
    emit(as_json, {"logdir": str(folder), "url": url}, f"{url} shows {folder}; Ctrl-C ends it")
    sys.stdout.flush()
    # Everything but the one object goes to standard error.
    command = [sys.executable, "-m", "tensorboard.main", *options]
    code = subprocess.run(command, stdout=sys.stderr, check=False).returncode
    if code:
        raise RunError(f"TensorBoard ended with status {code}; is port {port} taken? try --port 0")


@app.command()
def dashboard(
    experiment: Experiment,
    port: Annotated[int, typer.Option(help="Port on the loopback.", min=1, max=65535)] = 8080,
    as_json: Json = False,
) -> None:
    """Start optuna-dashboard on the study, also while it is searched.

    Example: dann-search dashboard quickstart --port 8081
    """
    from dann_search.results.dashboard import serve
    from dann_search.results.reader import open_experiment

    url = f"http://127.0.0.1:{port}/"

    def ready(study: str) -> None:
        emit(as_json, {"study": study, "url": url}, f"{url} shows {study}; Ctrl-C ends it")
        sys.stdout.flush()

    serve(open_experiment(experiment), port, ready)


@app.command()
def space(
    file: Annotated[
        Path, typer.Argument(metavar="SPACE.yaml", help="The experiment file.", show_default=False)
    ],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Configurations to sample.", min=0, max=1000)] = 5,
    as_json: Json = False,
) -> None:
    """Explain a search space: dimensions, conditions, size, sampled configurations.

    Example: dann-search space search_spaces/quickstart.yaml
    """
    from dann_search.config.load import load_experiment
    from dann_search.models.registry import stage_counts
    from dann_search.search.explain import explain

    stages = stage_counts()
    # One may look at a space before its data are there.
    experiment, found = load_experiment(file, stages, sets=set_ or [], check_files=False)
    result = explain(experiment, found, samples)
    emit(as_json, result.to_json(), result.render())


@app.command()
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of the experiment file, for editors.

    Example: dann-search schema > dann-search.schema.json
    """
    from dann_search.config.schema import experiment_schema

    print(json.dumps(experiment_schema(), indent=None if as_json else 2))


def _version(show: bool) -> None:
    if show:
        print(f"dann-search {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    # Wherever it stands on the line: people add it to the end of the command that failed.
    words = [word for word in words if word != "--debug"] or ["--help"]
    run = partial(app, words, standalone_mode=False, prog_name="dann-search")
    return _guard(run, debug, "--json" in words)


def _guard(run: Callable[[], Any], debug: bool, as_json: bool) -> int:
    try:
        code = run()
        return code if isinstance(code, int) else 0
    except typer.Exit as exc:
        return exc.exit_code
    except TyperException as exc:
        return _fail(exc.format_message(), 2, as_json)
    except InputError as exc:
        return _fail(str(exc), 2, as_json, debug)
    except RunError as exc:
        return _fail(str(exc), 1, as_json, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130, as_json)
    except Exception as exc:
        text = f"{type(exc).__name__}: {exc}"
        return _fail(f"{text} (run again with --debug for the traceback)", 1, as_json, debug)


def _fail(message: str, code: int, as_json: bool, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    err.print(f"error: {message}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps({"error": message}))
    return code


def entry_point() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
