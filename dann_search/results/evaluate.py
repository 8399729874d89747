"""How good a model is on images it never saw: the target's test split, or a labelled folder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dann_search.data.decode import EXTENSIONS, UnreadableImageError
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.folder import load_folder_domain
from dann_search.data.store import open_labels
from dann_search.errors import InputError, nearest
from dann_search.results.calibration import doubt, fit_temperature
from dann_search.results.confusion import write_confusion
from dann_search.results.find_model import FoundModel, find_model
from dann_search.results.inference import (
    batch_size_for,
    decoded_batches,
    find_device,
    logits_of,
    stacked,
    stored_batches,
)
from dann_search.results.model import DannModel, load_model
from dann_search.results.model_files import CONFUSION, EVALUATION, RECORD, write_record
from dann_search.results.scoring import Evaluation, score_logits

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
    if data is None and found.experiment is None:
        raise InputError(
            f"{target}: this model lies outside its experiment, so there is no test split; "
            "name a labelled folder: --data FOLDER"
        )
    images = None if data is None else labelled_folder(found.record["class_names"], data)
    model = load_model(found.folder).to(where)
    warning = ""
    if calibrated:
        warning = _calibrate(model, found)
        found.publish()
    if images is not None:
        result = _scored(model, images.labels, images.batches(model.image_size), str(data))
        return replace(result, warning=warning)
    assert found.store is not None
    labels = open_labels(found.store, "target", "test")
    batches = stored_batches(found.store, "target", "test", model.image_size)
    result = _scored(model, labels, batches, "test")
    _keep(result, found.folder, model.record)
    found.publish()
    return replace(result, warning=warning)


def _scored(
    model: DannModel, labels: NDArray[np.int64], batches: Iterator[Tensor], split: str
) -> Evaluation:
    logits = logits_of(model, batches)
    return score_logits(labels, logits, model.class_names, split, model.temperature)


def _calibrate(model: DannModel, found: FoundModel) -> str:
    """Fit the model's temperature on the target's validation labels and write it down.

    Returns:
        What speaks against it, if anything.
    """
    if found.store is None:
        raise InputError(
            f"{found.folder}: calibrating needs the validation split of the model's experiment, "
            "and this model lies outside of it; calibrate it there: dann-search evaluate "
            f"{found.record['experiment']} --calibrated"
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


def _keep(result: Evaluation, folder: Path, record: dict[str, Any]) -> None:
    """Write the result, its picture and the card that tells of it."""
    try:
        (folder / EVALUATION).write_text(json.dumps(result.to_json(), indent=1))
        names = [one.name for one in result.per_class]
        write_confusion(folder / CONFUSION, result.confusion, names)
        write_record(folder, record)
    except OSError as exc:
        raise InputError(f"{folder}: cannot be written: {exc.strerror}") from None


@dataclass(frozen=True)
class LabelledFolder:
    """Images of a folder, their labels (n,) by the model's numbers."""

    domain: Domain
    labels: NDArray[np.int64]

    def batches(self, side: int) -> Iterator[Tensor]:
        """Decoded to (m, 3, side, side), a batch at a time.

        Raises:
            UnreadableImageError: one of them cannot be decoded.
        """
        rows = range(len(self.domain))
        decoded = decoded_batches(
            rows, lambda row: self.domain.decode(row, side), batch_size_for(side)
        )
        for batch in decoded:
            for _, image in batch:
                if isinstance(image, UnreadableImageError):
                    raise image
            yield stacked(image for _, image in batch if not isinstance(image, Exception))


def labelled_folder(class_names: list[str], data: Path) -> LabelledFolder:
    """A folder of class folders, whose names are classes of the model.

    Raises:
        InputError: images without labels, or a class that the model does not know.
    """
    if data.is_dir() and (bare := _without_folders(data)):
        raise InputError(
            f"{data}: {len(bare)} images have no label, such as {bare[0]}; evaluating needs a "
            "class folder for each. To classify them: dann-search predict"
        )
    domain = load_folder_domain(data)
    if (rows := np.flatnonzero(domain.labels == NO_LABEL)).size:
        raise InputError(
            f"{data}: {len(rows)} images have no label, such as {domain.places[rows[0]]}; "
            "evaluating needs a class folder for each"
        )
    unknown = sorted(set(domain.class_names) - set(class_names))
    if unknown:
        hint = nearest(unknown[0], class_names)
        shown = f"{hint[:LONGEST_HINT]} …" if len(hint) > LONGEST_HINT else hint
        raise InputError(f"{data}: the class '{unknown[0]}' is none of the model's; {shown}")
    index = np.array([class_names.index(name) for name in domain.class_names])
    return LabelledFolder(domain, index[domain.labels])


def _without_folders(data: Path) -> list[Path]:
    """Images of a folder that holds no folders."""
    entries = sorted(data.iterdir())
    if any(entry.is_dir() and not entry.name.startswith(".") for entry in entries):
        return []
    return [entry for entry in entries if entry.suffix.lower() in EXTENSIONS]


@torch.no_grad()
def predict_classes(model: torch.nn.Module, images: Tensor) -> NDArray[np.int64]:
    """The class of largest logit for uint8 images (n, 3, side, side)."""
    batches = torch.split(images, batch_size_for(images.shape[-1]))
    classes: NDArray[np.int64] = torch.cat([model(batch).argmax(1) for batch in batches]).numpy()
    return classes
