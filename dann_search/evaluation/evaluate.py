"""Evaluate a model on images it never saw: the target's test split, or a labelled folder."""

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dann_search.data.class_names import class_name
from dann_search.data.decode import Preparation, UnreadableImageError
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.duplicates import content_groups
from dann_search.data.folder import folder_names, load_class_folders, load_folder_domain
from dann_search.data.manifest import load_manifest_domain
from dann_search.data.split_names import is_split_name
from dann_search.data.store import HELD_OUT, open_groups, open_labels
from dann_search.data.walk import images_in
from dann_search.errors import InputError, in_one_line, nearest, printable
from dann_search.evaluation.calibration import doubt, fit_temperature
from dann_search.evaluation.confusion import write_confusion
from dann_search.evaluation.scoring import score_logits
from dann_search.inference.batched_logits import (
    batch_size_of,
    decoded_batches,
    find_device,
    logits_of,
    stacked,
    stored_batches,
)
from dann_search.inference.find_model import FoundModel, find_model
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_files import CONFUSION, EVALUATION, RECORD, write_record
from dann_search.inference.rejection import count_rejected, rejection
from dann_search.outputs.models import Evaluation
from dann_search.storage.atomic_file import write_atomically
from dann_search.training.predict import batch_size_for

LONGEST_HINT = 300
"""Characters of a list of classes in an error: a model may have hundreds."""


def evaluate_target(
    target: str | Path,
    data: Path | None = None,
    *,
    calibrated: bool = False,
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
    model = load_model(found.folder, found.trusted).to(where)
    remarks = []
    if calibrated:
        remarks.append(_calibrate(model, found))
        found.publish()
    if images is not None:
        copies = content_groups(images.domain.keys)
        named = printable(str(data))
        result = _scored(model, found, images.labels, images.batches(model), named, copies)
        remarks.extend(images.domain.remarks)
    else:
        assert found.store is not None
        labels = open_labels(found.store, "target", "test")
        batches = stored_batches(found.store, "target", "test", model.image_size)
        copies = open_groups(found.store, "target", "test")
        result = _scored(model, found, labels, batches, "test", copies)
        remarks.append(_write(result, found.folder, model.record))
        found.publish()
    if copies is not None:
        contents = len(np.unique(copies))
        remarks.append(
            f"the {result.n} images show {contents} contents: the intervals resample these, each "
            "with all its copies"
        )
    for remark in filter(None, remarks):
        note(remark)
    return result


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
    model: DannModel,
    found: FoundModel,
    labels: NDArray[np.int64],
    batches: Iterator[Tensor],
    split: str,
    copies: NDArray[np.int64] | None,
) -> Evaluation:
    logits = logits_of(model, batches)
    names, temperature = model.class_names, model.temperature
    return Evaluation(
        **dict(score_logits(labels, logits, names, split, temperature, copies)),
        model=str(found.folder),
        trial=found.record["trial"],
        epoch=found.record["epoch"],
        rejection=rejection(model.record, count_rejected(model.record, logits), len(logits)),
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


@dataclass(frozen=True)
class LabelledImages:
    """Images, and their labels (n,) in the model's numbering."""

    domain: Domain
    labels: NDArray[np.int64]

    def batches(self, model: DannModel) -> Iterator[Tensor]:
        """Yield batches of images as the model expects them, shape (m, 3, side, side).

        Raises:
            UnreadableImageError: an image cannot be decoded.
        """
        decoded = decoded_batches(self.domain.places, model.read, batch_size_of(model))
        for batch in decoded:
            for _, image in batch:
                if isinstance(image, UnreadableImageError):
                    raise image
            yield stacked(image for _, image in batch if not isinstance(image, Exception))


BY_THE_MODEL = Preparation(grey_bits=16)
"""The model prepares the images by the range that it knows, so none is looked for in them."""


def labelled_images(class_names: list[str], data: Path) -> LabelledImages:
    """Open a folder of class folders, or a manifest, whose classes are the model's.

    Of a manifest with splits the rows of its test split count.

    Raises:
        InputError: it holds images without labels, splits, or a class unknown to the model.
    """
    if data.is_file():
        domain = load_manifest_domain(data, how=BY_THE_MODEL)
        splits = domain.splits or ["test"] * len(domain)
        rows = [n for n in range(len(domain)) if splits[n] == "test"]
        rows = [n for n in rows if domain.labels[n] != NO_LABEL]
        if others := len(domain) - len(rows):
            remark = f"{data}: {others} rows without a label or of other splits are left out"
            domain = replace(domain.subset(rows), remarks=(*domain.remarks, remark))
        index = _known(class_names, domain.class_names, data)
        return LabelledImages(domain, index[domain.labels])
    names = folder_names(data)
    if bare := images_in(data):
        raise InputError(
            f"{data}: {len(bare)} images have no label, such as {bare[0]}; evaluating needs a "
            "class folder for each. To classify them: dann-search predict"
        )
    unknown = set(map(class_name, names)) - set(map(class_name, class_names))
    if unknown and all(map(is_split_name, names)):
        # Together they would include images that trained or chose the model.
        one = min(sorted(names), key=_untrained)
        raise InputError(
            f"{data}: holds splits ({', '.join(sorted(names))}), not class folders; name one of "
            f"them: --data {data / one}"
        )
    if len(unknown) == len(names):
        load_folder_domain(data)  # says which folder to name, if there is one between
    _known(class_names, sorted(map(class_name, names)), data)
    domain = load_class_folders(data, BY_THE_MODEL)
    return LabelledImages(domain, _known(class_names, domain.class_names, data)[domain.labels])


def _known(class_names: list[str], names: Sequence[str], data: Path) -> NDArray[np.int64]:
    """Return the model's number of each class.

    Raises:
        InputError: one is unknown to the model.
    """
    numbers = {class_name(name): number for number, name in enumerate(class_names)}
    if unknown := [name for name in names if name not in numbers]:
        hint = nearest(unknown[0], class_names)
        shown = f"{hint[:LONGEST_HINT]} …" if len(hint) > LONGEST_HINT else hint
        raise InputError(f"{data}: the class '{unknown[0]}' is none of the model's; {shown}")
    return np.array([numbers[name] for name in names])


def _untrained(split: str) -> int:
    """Rank names of splits by how suitable they are for an evaluation: test, others, train."""
    written = split.casefold()
    return 0 if written.startswith("test") else 2 if written.startswith("train") else 1


@torch.no_grad()
def predict_classes(model: torch.nn.Module, images: Tensor) -> NDArray[np.int64]:
    """Predict the class of each of the uint8 images (n, 3, side, side)."""
    batches = torch.split(images, batch_size_for(images.shape[-1]))
    classes: NDArray[np.int64] = torch.cat([model(batch).argmax(1) for batch in batches]).numpy()
    return classes
