"""Commands on models: best, evaluate, export, predict."""

import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dann_search.cli.app import Experiment, Json, app, emit, err

if TYPE_CHECKING:
    from dann_search.outputs.models import FilePrediction

SHOWN_UNREADABLE = 20
"""Unreadable files that ``predict`` names; the predictions name all."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT|MODEL_DIR",
        help="An experiment, for its best model, or the folder of a model.",
        show_default=False,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-extensions", help="Execute the Python file that came with a model folder."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


@app.command()
def best(
    experiment: Experiment,
    rank: Annotated[
        int | None, typer.Option(help="Rank of the trial: 1, the default, is the best.", min=1)
    ] = None,
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial, instead of its rank.", min=0)
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="Rank by f1_macro, or by a validator such as info_max.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder to write [in the experiment's].")
    ] = None,
    force: Force = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train the model again on train and val together.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the model of a trial: model.safetensors, model.json and a card.

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
    from dann_search.cli.model_tables import best_table

    emit(as_json, model, best_table(model))


@app.command()
def evaluate(
    target: Model,
    data: Annotated[
        Path | None, typer.Option(help="A labelled folder or manifest, instead of the test split.")
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated", help="Fit the model's temperature on target val first, and keep it."
        ),
    ] = False,
    errors: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for a page and a table of wrong predictions."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    trust_extensions: Trust = False,
    as_json: Json = False,
) -> None:
    """Measure a model on the target's test split, or on a labelled folder or manifest.

    Example: dann-search evaluate quickstart --calibrated --errors wrong
    """
    from dann_search.cli.evaluation_tables import evaluation_table
    from dann_search.evaluation.evaluate import evaluate_target
    from dann_search.inference.model_files import read_record_of_model

    notes: list[str] = []
    result = evaluate_target(
        target,
        data,
        calibrated=calibrated,
        errors=errors,
        device=device,
        trust_extensions=trust_extensions,
        note=notes.append,
    )
    if as_json:
        for note in notes:
            err.print(f"note: {note}", soft_wrap=True)
    recorded = read_record_of_model(Path(result.model)).get("data", {})
    table = evaluation_table(result, notes, labelled=recorded.get("target_labelled", True))
    emit(as_json, result, table)


@app.command()
def export(
    target: Model,
    format_: Annotated[
        str | None, typer.Option("--format", help="safetensors, onnx, torch or hf; must be given.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Folder to write [export/FORMAT in the model's].")
    ] = None,
    force: Force = False,
    images: Annotated[
        Path | None, typer.Option(help="Images to verify on [the target's validation images].")
    ] = None,
    trust_extensions: Trust = False,
    as_json: Json = False,
) -> None:
    """Write a model for use without dann-search, verified against the original.

    Example: dann-search export quickstart --format onnx
    """
    from dann_search.cli.model_tables import export_lines
    from dann_search.inference.export.export import export_model

    result = export_model(
        target,
        format_ or "",
        out=out_dir,
        force=force,
        images=images,
        trust_extensions=trust_extensions,
    )
    emit(as_json, result, *export_lines(result))


@app.command()
def predict(
    target: Model,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Images, folders, or patterns in quotes.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "--output", help="File to write [standard output].")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="csv, json, jsonl or parquet [by --out's name; csv]."),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Page of thumbnails to write, by predicted class."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability below which a label is refused.", min=0, max=1)
    ] = None,
    top: Annotated[
        int, typer.Option(help="Number of classes per image, the likeliest first.", min=1)
    ] = 1,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per batch [by their size].", min=1)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    trust_extensions: Trust = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Label images, with probabilities, as CSV, JSON or Parquet.

    Example: dann-search predict quickstart photos 'more/**/*.png' --out labels.csv
    """
    from dann_search.inference import prediction_output as output

    kind = output.output_format(out, format_)
    output.check_out(out, force)
    output.check_out(sheet, force, "--sheet")
    options: dict[str, Any] = {
        "top": top, "batch_size": batch_size, "device": device, "threshold": threshold,
        "sheet": sheet, "trust_extensions": trust_extensions,
    }  # fmt: skip
    try:
        _predict(target, paths, out, kind, as_json, options)
    except BrokenPipeError:
        # The reader has enough, as `| head` does: there is nothing to flush into the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


def _predict(
    target: str,
    paths: list[str],
    out: Path | None,
    kind: str,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    """Write predictions as they are made; then say what could not be read, and how many were."""
    from dann_search.cli.bars import bar
    from dann_search.cli.model_tables import prediction_lines
    from dann_search.inference.predict import predict_to
    from dann_search.inference.prediction_output import writer
    from dann_search.tracking.packing import CountLines

    collected: list[FilePrediction] | None = [] if as_json and out is None else None
    unreadable: list[FilePrediction] = []
    notes: list[str] = []
    has_bar = err.is_terminal and not as_json and (out is not None or not sys.stdout.isatty())
    lines = CountLines(partial(print, file=sys.stderr, flush=True), "classified")
    refuses = options["threshold"] is not None
    with (
        writer(out, kind, options["top"], collected, refuses) as write,
        bar("classifying") if has_bar else nullcontext() as show,
    ):
        progress = partial(show, "classifying") if show else lines

        def take(prediction: "FilePrediction") -> None:
            write(prediction)
            if prediction.error is not None and len(unreadable) < SHOWN_UNREADABLE:
                unreadable.append(prediction)

        result = predict_to(take, target, paths, progress=progress, note=notes.append, **options)
    sys.stdout.flush()
    result = result.model_copy(update={"out": out, "predictions": collected})
    for line in [*(f"note: {one}" for one in notes), *prediction_lines(result, unreadable)]:
        err.print(line, markup=False, soft_wrap=True)
    if as_json:
        emit(True, result)
