"""How good a model is on images it never saw: the target's test split, or a labelled folder."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dann_search.data.decode import UnreadableImageError
from dann_search.data.domain import Domain
from dann_search.data.folder import folder_names, images_directly_in, load_class_folders
from dann_search.data.split_names import is_split_name
from dann_search.data.store import open_labels
from dann_search.errors import InputError, in_one_line, nearest
from dann_search.evaluation.calibration import doubt, fit_temperature
from dann_search.evaluation.confusion import write_confusion
from dann_search.evaluation.scoring import Evaluation, score_logits
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
from dann_search.storage.atomic_file import write_atomically
from dann_search.training.predict import batch_size_for

LONGEST_HINT = 300
"""Characters: a model may have hundreds of classes."""


def evaluate_target(
    target: str | Path,
    data: Path | None = None,
    *,
    calibrated: bool = False,
    device: str = "cpu",
) -> Evaluation:
    """Evaluate an experiment's best model, or a model folder.

    What is measured on the test split is kept beside the model.

    Args:
        target: an experiment (folder or name), or a folder with model.safetensors and model.json.
        data: a labelled folder instead of the target's test split.
        calibrated: first fit a temperature on the target's validation split and keep it in
            model.json: this and every later probability is of the calibrated model.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        InputError: nothing to evaluate, nothing to evaluate on, or other classes.
    """
    found = find_model(target)
    where = find_device(device)
    if data is None and found.store is None:
        raise found.without_experiment("test split", "name a labelled folder: --data FOLDER")
    images = None if data is None else labelled_folder(found.record["class_names"], data)
    model = load_model(found.folder).to(where)
    warning = ""
    if calibrated:
        warning = _calibrate(model, found)
        found.publish()
    if images is not None:
        batches = images.batches(model)
        result = _scored(model, found, images.labels, batches, str(data))
        return replace(result, warning=warning)
    assert found.store is not None
    labels = open_labels(found.store, "target", "test")
    batches = stored_batches(found.store, "target", "test", model.image_size)
    result = _scored(model, found, labels, batches, "test")
    notices = _keep(result, found.folder, model.record)
    found.publish()
    return replace(result, warning=warning, notices=notices)


def _scored(
    model: DannModel,
    found: FoundModel,
    labels: NDArray[np.int64],
    batches: Iterator[Tensor],
    split: str,
) -> Evaluation:
    logits = logits_of(model, batches)
    result = score_logits(labels, logits, model.class_names, split, model.temperature)
    trial, epoch = found.record["trial"], found.record["epoch"]
    return replace(result, model=str(found.folder), trial=trial, epoch=epoch)


def _calibrate(model: DannModel, found: FoundModel) -> str:
    """Fit the model's temperature on the target's validation labels and write it down.

    Returns:
        What speaks against it, if anything.
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


def _keep(result: Evaluation, folder: Path, record: dict[str, Any]) -> tuple[str, ...]:
    """Write the result, the card that tells of it, and its picture.

    Returns:
        Notices for people, of a picture that could not be drawn or lacks letters.
    """
    try:
        write_atomically(folder / EVALUATION, json.dumps(result.to_json(), indent=1).encode())
        write_record(folder, record)
    except OSError as exc:
        raise InputError(f"{folder}: cannot be written: {exc.strerror}") from None
    picture, names = folder / CONFUSION, [one.name for one in result.per_class]
    try:
        remark = write_confusion(picture, result.confusion, names)
    except Exception as exc:  # of any kind: the result is worth more than its picture
        with contextlib.suppress(OSError):
            picture.unlink(missing_ok=True)  # an earlier result's, or half of this one's
        return (f"{CONFUSION} could not be drawn: {in_one_line(exc)}; the result is complete",)
    return (f"{CONFUSION}: {remark}",) if remark else ()


@dataclass(frozen=True)
class LabelledFolder:
    """Images of a folder, their labels (n,) by the model's numbers."""

    domain: Domain
    labels: NDArray[np.int64]

    def batches(self, model: DannModel) -> Iterator[Tensor]:
        """Decode the images as a model needs them, shape (m, 3, side, side), a batch at a time.

        Raises:
            UnreadableImageError: one of them cannot be decoded.
        """
        rows, side = range(len(self.domain)), model.stored_size
        decoded = decoded_batches(
            rows, lambda row: self.domain.decode(row, side), batch_size_of(model)
        )
        for batch in decoded:
            for _, image in batch:
                if isinstance(image, UnreadableImageError):
                    raise image
            yield stacked(image for _, image in batch if not isinstance(image, Exception))


def labelled_folder(class_names: list[str], data: Path) -> LabelledFolder:
    """A folder of class folders, whose names are classes of the model.

    Raises:
        InputError: images without labels, splits, or a class that the model does not know.
    """
    names = folder_names(data)
    if bare := images_directly_in(data):
        raise InputError(
            f"{data}: {len(bare)} images have no label, such as {bare[0]}; evaluating needs a "
            "class folder for each. To classify them: dann-search predict"
        )
    unknown = sorted(names - set(class_names))
    if unknown and all(map(is_split_name, names)):
        # Together they would hold images that the model was trained on, or was chosen by.
        one = min(sorted(names), key=_untrained)
        raise InputError(
            f"{data}: holds splits ({', '.join(sorted(names))}), not class folders; name one of "
            f"them: --data {data / one}"
        )
    if unknown:
        hint = nearest(unknown[0], class_names)
        shown = f"{hint[:LONGEST_HINT]} …" if len(hint) > LONGEST_HINT else hint
        raise InputError(f"{data}: the class '{unknown[0]}' is none of the model's; {shown}")
    domain = load_class_folders(data)
    index = np.array([class_names.index(name) for name in domain.class_names])
    return LabelledFolder(domain, index[domain.labels])


def _untrained(split: str) -> int:
    """Order names of splits by how fit their images are to evaluate on: test, others, train."""
    written = split.casefold()
    return 0 if written.startswith("test") else 2 if written.startswith("train") else 1


@torch.no_grad()
def predict_classes(model: torch.nn.Module, images: Tensor) -> NDArray[np.int64]:
    """The class of largest logit for uint8 images (n, 3, side, side)."""
    batches = torch.split(images, batch_size_for(images.shape[-1]))
    classes: NDArray[np.int64] = torch.cat([model(batch).argmax(1) for batch in batches]).numpy()
    return classes
