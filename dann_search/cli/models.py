"""Commands on models: best, evaluate, export, predict."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err

Model = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT|MODEL_DIR",
        help="An experiment, for its best model, or a model's folder.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@app.command()
def best(
    experiment: Experiment,
    rank: Annotated[
        int | None, typer.Option(help="1, the default, for the best trial, 2 for the next.", min=1)
    ] = None,
    trial: Annotated[int | None, typer.Option(help="A trial by its number.", min=0)] = None,
    objective: Annotated[
        str | None, typer.Option(help="Rank by f1_macro or a validator such as info_max instead.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder to write [one in the experiment's].")
    ] = None,
    force: Force = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train it again, on train and val together.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a trial's model: model.safetensors, model.json and a card.

    Example: dann-search best quickstart --rank 2 --out models/second
    """
    which: dict[str, Any] = {"rank": rank, "trial": trial, "objective": objective}
    which |= {"out": out_dir, "force": force}
    if refit:
        from dann_search.api import retraining

        model = retraining.refit(experiment, **which)
    else:
        from dann_search.inference.best import write_best

        model = write_best(experiment, **which)
        if rank in (None, 1) and trial is None and objective is None:
            from dann_search.evaluation.tensorboard_best import show_best
            from dann_search.results.reader import open_experiment

            show_best(open_experiment(experiment))
    emit(as_json, model.to_json(), model.render())


@app.command()
def evaluate(
    target: Model,
    data: Annotated[
        Path | None, typer.Option(help="A labelled folder instead of the test split.")
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated", help="First fit the model's temperature on target val, and keep it."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Measure a model on the target's test split, or on a labelled folder.

    Example: dann-search evaluate quickstart --calibrated
    """
    from dann_search.cli.evaluation_tables import evaluation_table
    from dann_search.evaluation.evaluate import evaluate_target

    notes: list[str] = []
    result = evaluate_target(target, data, calibrated=calibrated, device=device, note=notes.append)
    if as_json:
        for note in notes:
            err.print(f"note: {note}", soft_wrap=True)
    emit(as_json, result.model_dump(mode="json"), evaluation_table(result, notes))


@app.command()
def export(
    target: Model,
    format_: Annotated[
        str, typer.Option("--format", help="safetensors, onnx or torch.", show_default=False)
    ],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder to write [export/FORMAT in the model's].")
    ] = None,
    force: Force = False,
    images: Annotated[
        Path | None, typer.Option(help="Images to verify on [the target's validation images].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model for use without dann-search, verified against the original.

    Example: dann-search export quickstart --format onnx
    """
    from dann_search.inference.export.export import export_model

    result = export_model(target, format_, out=out_dir, force=force, images=images)
    emit(as_json, result.to_json(), *map(_plain, result.lines()))


@app.command()
def predict(
    target: Model,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Images, folders, patterns in quotes.", show_default=False
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="File to write [standard output].")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="csv or jsonl [by --out's name; csv].")
    ] = None,
    top: Annotated[int, typer.Option(help="Likeliest classes to tell of.", min=1)] = 1,
    batch_size: Annotated[
        int | None, typer.Option(help="Images at a time [by their size].", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Label images, with probabilities, as CSV or JSON lines.

    Example: dann-search predict quickstart photos 'more/**/*.png' --out labels.csv
    """
    from dann_search.inference import prediction_output as output
    from dann_search.inference.predict import predict_to
    from dann_search.tracking.packing import image_progress

    kind = output.output_format(out, format_)
    output.check_out(out, force)
    collected: list[Any] | None = [] if as_json and out is None else None
    bar = err.is_terminal and not as_json and (out is not None or not sys.stdout.isatty())
    try:
        with (
            output.writer(out, kind, top, collected) as write,
            image_progress(err, "classifying", "classified", plain=not bar) as progress,
        ):
            summary = predict_to(
                write,
                target,
                paths,
                top=top,
                batch_size=batch_size,
                device=device,
                progress=progress,
            )
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough, as `| head` does. Nothing is left to flush into the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    summary.out = None if out is None else str(out)
    for line in summary.lines():
        err.print(line, markup=False, soft_wrap=True)
    if as_json:
        emit(True, summary.to_json() | {"predictions": collected})


def _plain(line: str) -> Any:
    from rich.text import Text

    return Text(line, overflow="fold")
