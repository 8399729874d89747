"""Classify many images, a batch at a time."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage
from torch import Tensor

from dann_search.data.decode import UnreadableImageError
from dann_search.data.domain import Image
from dann_search.data.pixels import DARK
from dann_search.data.walk import LeftOut
from dann_search.errors import InputError, RunError, counted, printable
from dann_search.inference.batched_logits import (
    batch_size_of,
    decoded_batches,
    find_device,
    stacked,
)
from dann_search.inference.find_model import FoundModel, find_model
from dann_search.inference.gallery import ContactSheet
from dann_search.inference.image_files import check_words, image_files
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_files import RECORD
from dann_search.inference.rejection import expected_refused, rejected, rejection
from dann_search.outputs.models import FilePrediction, LabelProbability, Predictions, Refusal


def predict_files(
    target: str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int | None = None,
    device: str = "auto",
    trust_extensions: bool = False,
) -> Iterator[FilePrediction]:
    """Classify images; yield one prediction per file, in the order of the files.

    Memory does not grow with the number of files.

    Args:
        target: folder of a model, or an experiment, whose best model is used.
        paths: files, folders or patterns.
        top: number of classes per prediction, the likeliest first.
        batch_size: images per batch; chosen by their size by default.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.
        trust_extensions: as in ``load_model``, of a model folder.

    Raises:
        InputError: there is no model or no such file, or the model has fewer than ``top`` classes.
    """
    words = check_words(paths)
    model = _model(find_model(target, trust_extensions), device, top)
    batches = _predictions(model, image_files(words), top, batch_size)
    return (one.prediction for one in itertools.chain.from_iterable(batches))


@dataclass(frozen=True)
class Classified:
    """An image, what the model says of it, and whether the model's own rule calls it unsure.

    ``image`` is None where the file cannot be read.
    """

    prediction: FilePrediction
    image: Image | None
    unsure: bool = False


class _Counts:
    """What is counted while images are classified.

    Attributes:
        unreadable: the first that cannot be read.
        blank: images that are black or white throughout as the model sees them.
    """

    def __init__(self) -> None:
        self.images = self.read = self.unsure = self.refused = 0
        self.unreadable: FilePrediction | None = None
        self.blank: list[str] = []

    def add(self, one: Classified) -> None:
        self.images += 1
        self.unsure += one.unsure
        self.refused += one.prediction.refused
        if one.image is None:
            self.unreadable = self.unreadable or one.prediction
            return
        self.read += 1
        if one.image.max() <= DARK or one.image.min() >= 255 - DARK:
            self.blank.append(one.prediction.path)


def _counted(
    batches: Iterable[list[Classified]],
    take: Callable[[Classified], None],
    progress: Callable[[int], None],
) -> _Counts:
    """Pass every image to ``take``; return the counts.

    Raises:
        RunError: no file could be read.
    """
    counts = _Counts()
    with warnings.catch_warnings():
        # Pillow warns of images above 89 megapixels, and refuses those above twice that.
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        for batch in batches:
            for one in batch:
                take(one)
                counts.add(one)
            progress(counts.images)
    if counts.unreadable and not counts.read:
        first = f"{counts.unreadable.path}: {counts.unreadable.error}"
        if counts.images == 1:
            raise RunError(f"cannot read {first}")
        raise RunError(f"cannot read any of the {counts.images} files; the first is {first}")
    return counts


def predict_to(
    write: Callable[[FilePrediction], None],
    target: str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int | None = None,
    device: str = "auto",
    threshold: float | None = None,
    sheet: Path | None = None,
    trust_extensions: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
    note: Callable[[str], None] = warnings.warn,
) -> Predictions:
    """Classify images as ``predict_files`` does, and pass each prediction to ``write``.

    Labels below the probability ``threshold`` are refused. ``sheet`` is an HTML page of thumbnails
    to write. ``progress`` is called with the number of images done and of all, ``note`` with each
    remark, such as on files that folders hold besides images. ``predictions`` and ``out`` of the
    result are None.

    Raises:
        InputError: as ``predict_files``, or the sheet cannot be written.
        RunError: no file could be read.
    """
    words = check_words(paths)
    found = find_model(target, trust_extensions)
    model = _model(found, device, top)
    expected = None if threshold is None else expected_refused(found, model, threshold)
    left_out = LeftOut()
    total = sum(1 for _ in image_files(words, left_out))
    cards = ContactSheet(total, threshold)

    def take(one: Classified) -> None:
        write(one.prediction)
        if sheet is not None:
            cards.add(one.prediction, one.image)

    begun = time.perf_counter()
    batches = _predictions(model, image_files(words), top, batch_size, threshold)
    counts = _counted(batches, take, lambda done: progress(done, total))
    elapsed_s = time.perf_counter() - begun
    if sheet is not None:
        cards.write(sheet)
    refused = None if threshold is None else _refusal(threshold, counts, expected)
    for remark in (*left_out.remarks(), *_of_blank(counts.blank), *_of_refused(refused)):
        note(remark)
    return Predictions(
        model=found.folder,
        images=counts.images,
        unreadable=counts.images - counts.read,
        out=None,
        device=next(model.parameters()).device.type,
        elapsed_s=round(elapsed_s, 3),
        images_per_s=round(counts.images / elapsed_s, 1) if elapsed_s else None,
        rejection=rejection(model.record, counts.unsure, counts.read),
        refusal=refused,
        sheet=sheet,
        predictions=None,
    )


def _refusal(threshold: float, counts: _Counts, expected: float | None) -> Refusal:
    share = counts.refused / counts.read if counts.read else None
    return Refusal(
        threshold=threshold, refused=counts.refused, share=share, expected_share=expected
    )


def _of_blank(images: Sequence[str]) -> Iterator[str]:
    if images:
        yield (
            f"{counted(len(images), 'image is', 'images are')} black or white throughout as the "
            f"model sees them, such as {min(images)}: their labels say nothing. 16-bit images "
            f"need the range of those it "
            f"was trained on (preprocessing.grey_bits of {RECORD})"
        )


def _of_refused(found: Refusal | None) -> Iterator[str]:
    if found is not None:
        share = f" ({found.share:.1%})" if found.share is not None else ""
        expected = "how many to expect is unknown without the model's experiment"
        if found.expected_share is not None:
            expected = f"{found.expected_share:.1%} of the target's validation images are"
        yield (
            f"{found.refused:,} refused{share}, below a probability of "
            f"{found.threshold:g}; {expected}"
        )


def _model(found: FoundModel, device: str, top: int) -> DannModel:
    where = find_device(device)
    model = load_model(found.folder, found.trusted).to(where)
    if top > len(model.class_names):
        raise InputError(f"--top {top}: the model knows {len(model.class_names)} classes")
    return model


def _predictions(
    model: DannModel,
    files: Iterable[Path],
    top: int,
    batch_size: int | None,
    threshold: float | None = None,
) -> Iterator[list[Classified]]:
    """Yield batches of predictions."""
    for batch in decoded_batches(files, model.read, batch_size or batch_size_of(model)):
        images = [image for _, image in batch if not isinstance(image, UnreadableImageError)]
        rows = _rows(model, images, top) if images else iter(())
        yield [
            _unreadable(file, image)
            if isinstance(image, UnreadableImageError)
            else _classified(model.class_names, file, image, next(rows), threshold)
            for file, image in batch
        ]


@torch.no_grad()
def _rows(
    model: DannModel, images: list[Image], top: int
) -> Iterator[tuple[list[float], list[int], bool]]:
    """Return of each image the largest probabilities, their classes, and whether it is unsure."""
    logits: Tensor = model(stacked(images).to(next(model.parameters()).device))
    values, classes = (logits / model.temperature).softmax(1).topk(top)
    unsure = rejected(model.record, logits.double().cpu().numpy()).tolist()
    return zip(values.tolist(), classes.tolist(), unsure, strict=True)


def _unreadable(file: Path, exc: UnreadableImageError) -> Classified:
    nothing: dict[str, Any] = {"label": None, "probability": None, "top": [], "refused": False}
    return Classified(FilePrediction(path=printable(str(file)), **nothing, error=exc.reason), None)


def _classified(
    names: Sequence[str],
    file: Path,
    image: Image,
    row: tuple[list[float], list[int], bool],
    threshold: float | None,
) -> Classified:
    chances, classes, unsure = row
    prediction = FilePrediction(
        path=printable(str(file)),
        label=names[classes[0]],
        probability=chances[0],
        top=[
            LabelProbability(label=names[number], probability=value)
            for value, number in zip(chances, classes, strict=True)
        ],
        refused=threshold is not None and chances[0] < threshold,
        error=None,
    )
    return Classified(prediction, image, unsure)
