"""Evaluate a model on images it never saw: the target's test split, or a labelled folder."""

import contextlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dann_search.data.store import HELD_OUT, open_labels
from dann_search.errors import InputError, in_one_line, printable
from dann_search.evaluation.calibration import doubt, fit_temperature, to_probabilities
from dann_search.evaluation.confusion import write_confusion
from dann_search.evaluation.evaluation_set import (
    EvaluationSet,
    labelled_images,
    of_files,
    of_test_split,
)
from dann_search.evaluation.mistakes import check_errors_folder, write_mistakes
from dann_search.evaluation.scoring import score_logits
from dann_search.inference.batched_logits import find_device, logits_of, stored_batches
from dann_search.inference.find_model import FoundModel, find_model
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_files import CONFUSION, EVALUATION, RECORD, write_record
from dann_search.inference.rejection import rejected, rejection
from dann_search.outputs.models import Evaluation
from dann_search.storage.atomic_file import write_atomically


def evaluate_target(
    target: str | Path,
    data: Path | None = None,
    *,
    calibrated: bool = False,
    errors: str | Path | None = None,
    device: str = "cpu",
    trust_extensions: bool = False,
    note: Callable[[str], None] = warnings.warn,
) -> Evaluation:
    """Evaluate an experiment's best model, or a model folder.

    An evaluation on the test split is written beside the model.

    Args:
        target: an experiment (folder or name), or a folder with model.safetensors and model.json.
        data: a labelled folder, or a manifest (.csv, .parquet), instead of the target's test split.
        calibrated: first fit a temperature on the target's validation split and keep it in
            model.json, for this evaluation and all later predictions.
        errors: a folder for errors.html and errors.csv: the images that are predicted wrongly.
        device: ``cpu``, ``cuda`` or ``auto``.
        trust_extensions: as in ``load_model``, of a model folder.
        note: called with each remark on the result, such as a doubtful temperature.

    Raises:
        InputError: there is no model or no image to evaluate, or the classes are not the model's.
    """
    found = find_model(target, trust_extensions)
    where = find_device(device)
    if data is None and found.store is None:
        raise found.without_experiment("test split", "name labelled images: --data FOLDER|MANIFEST")
    labelled = found.record.get("data", {}).get("target_labelled", True)
    if not labelled and (data is None or calibrated):
        raise _without_labels(found, target, calibrated)
    images = None if data is None else labelled_images(found.record["class_names"], data)
    folder = None if errors is None else check_errors_folder(errors)
    model = load_model(found.folder, found.trusted).to(where)
    remarks = []
    if calibrated:
        remarks.append(_calibrate(model, found))
        found.publish()
    if images is not None:
        tested = of_files(images, model, printable(str(data)))
        remarks.extend(images.remarks)
    else:
        assert found.store is not None
        tested = of_test_split(found.store, model)
    logits = logits_of(model, tested.batches)
    result = _scored(model, found, tested, logits)
    if images is None:
        remarks.append(_write(result, found.folder, model.record))
        found.publish()
    if folder is not None:
        chances = to_probabilities(logits, model.temperature)
        remarks.append(write_mistakes(folder, tested, chances, model.class_names))
    remarks.append(_of_copies(tested))
    for remark in filter(None, remarks):
        note(remark)
    return result


def _of_copies(tested: EvaluationSet) -> str:
    if tested.copies is None:
        return ""
    return (
        f"the {len(tested.labels)} images show {len(np.unique(tested.copies))} contents: the "
        "intervals resample these, each with all its copies"
    )


def _without_labels(found: FoundModel, target: str | Path, calibrated: bool) -> InputError:
    name, names = found.record["domains"]["target"], found.record["class_names"]
    listed = found.store / HELD_OUT if found.store else None
    which = f", best those in {listed}, which neither trained nor chose it," if listed else ""
    what = "calibrated on its validation split" if calibrated else "measured on its test split"
    return InputError(
        f"{target}: the target {name} has no labels, so the model cannot be {what}. To measure it, "
        f"put labelled images of {name}{which} into one folder a class, called as the source's "
        f"({', '.join(names[:5])}{', …' if len(names) > 5 else ''}), and run: "
        f"dann-search evaluate {target} --data FOLDER"
    )


def _scored(
    model: DannModel, found: FoundModel, tested: EvaluationSet, logits: NDArray[np.float64]
) -> Evaluation:
    names, temperature = model.class_names, model.temperature
    unsure = int(rejected(model.record, logits).sum())
    scores = score_logits(tested.labels, logits, names, tested.split, temperature, tested.copies)
    return Evaluation(
        **dict(scores),
        model=str(found.folder),
        trial=found.record["trial"],
        epoch=found.record["epoch"],
        rejection=rejection(model.record, unsure, len(logits)),
    )


def _calibrate(model: DannModel, found: FoundModel) -> str:
    """Fit the model's temperature on the target's validation labels and record it.

    Returns:
        A reason to doubt the temperature, or an empty string.
    """
    if found.store is None:
        raise found.without_experiment(
            "validation split, which calibrates it,", "calibrate it where that is"
        )
    batches = stored_batches(found.store, "target", "val", model.image_size)
    logits, labels = logits_of(model, batches), open_labels(found.store, "target", "val")
    model.temperature = fit_temperature(logits, labels)
    model.record["temperature"] = model.temperature
    try:
        write_record(found.folder, model.record)
    except OSError as exc:
        raise InputError(f"{found.folder / RECORD}: cannot be written: {exc.strerror}") from None
    return doubt(logits, labels, model.temperature)


def _write(result: Evaluation, folder: Path, record: dict[str, Any]) -> str:
    """Write the result, the model card that shows it, and the picture of its confusion matrix.

    Returns:
        A remark on a picture that failed or lacks letters, or an empty string.
    """
    content = json.dumps(result.model_dump(mode="json"), indent=1)
    try:
        write_atomically(folder / EVALUATION, content.encode())
        write_record(folder, record)
    except OSError as exc:
        raise InputError(f"{folder}: cannot be written: {exc.strerror}") from None
    picture, names = folder / CONFUSION, [one.name for one in result.per_class]
    try:
        remark = write_confusion(picture, result.confusion, names)
    except Exception as exc:  # any kind: a failed picture must not cost the result
        with contextlib.suppress(OSError):
            picture.unlink(missing_ok=True)  # of an earlier result, or incomplete
        return f"{CONFUSION} could not be drawn: {in_one_line(exc)}; the result is complete"
    return f"{CONFUSION}: {remark}" if remark else ""
