"""Classify many images, a batch at a time."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image as PILImage
from torch import Tensor

from dann_search.data.decode import UnreadableImageError
from dann_search.data.domain import Image
from dann_search.data.pixels import DARK
from dann_search.data.walk import LeftOut
from dann_search.errors import InputError, RunError, printable
from dann_search.inference.batched_logits import (
    batch_size_of,
    decoded_batches,
    find_device,
    stacked,
)
from dann_search.inference.contact_sheet import ContactSheet
from dann_search.inference.find_model import FoundModel, find_model
from dann_search.inference.image_files import check_words, image_files
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_files import RECORD
from dann_search.inference.rejection import expected_refused, refusal, rejected, rejection
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
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    check_words(paths)
    model = _model(find_model(target, trust_extensions), device, top)
    batches = _predictions(model, image_files(paths), top, batch_size)
    return (one.prediction for one in itertools.chain.from_iterable(batches))


@dataclass(frozen=True)
class Classified:
    """An image, what the model says of it, and whether the model's own rule calls it unsure.

    ``image`` is None where the file cannot be read.
    """

    prediction: FilePrediction
    image: Image | None
    unsure: bool


class _Counts:
    """What is counted while images are classified."""

    def __init__(self) -> None:
        self.images = self.unreadable = self.unsure = self.refused = 0
        self.first: FilePrediction | None = None
        """The first that cannot be read."""

    def add(self, one: Classified) -> None:
        self.images += 1
        self.unsure += one.unsure
        self.refused += one.prediction.refused
        if one.image is None:
            self.unreadable += 1
            self.first = self.first or one.prediction


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
    if counts.first and counts.unreadable == counts.images:
        raise RunError(
            f"none of the {counts.images} files can be read; the first of them, "
            f"{counts.first.path}: {counts.first.error}"
        )
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
    """Classify images as ``predict_files`` does; pass each prediction to ``write``.

    Args:
        write: takes one prediction.
        target: folder of a model, or an experiment.
        paths: files, folders or patterns.
        top: number of classes per prediction.
        batch_size: images per batch.
        device: ``cpu``, ``cuda`` or ``auto``.
        threshold: probability below which labels are refused.
        sheet: HTML page to write, with thumbnails.
        trust_extensions: as in ``load_model``, of a model folder.
        progress: called with the number of images done, and of all.
        note: called with each remark, such as on files that folders hold besides images.

    Returns:
        The counts and the time; ``predictions`` and ``out`` are None.

    Raises:
        InputError: as ``predict_files``, or the sheet cannot be written.
        RunError: no file could be read.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    check_words(paths)
    found = find_model(target, trust_extensions)
    model = _model(found, device, top)
    expected = None if threshold is None else expected_refused(found, model, threshold)
    left_out, blank = LeftOut(), list[Path]()
    total = sum(1 for _ in image_files(paths, left_out))
    for remark in left_out.remarks():
        note(remark)
    cards = None if sheet is None else ContactSheet(total, threshold)

    def take(one: Classified) -> None:
        write(one.prediction)
        if cards is not None:
            cards.add(one.prediction, one.image)

    begun = time.perf_counter()
    batches = _predictions(model, image_files(paths), top, batch_size, threshold, blank)
    counts = _counted(batches, take, lambda done: progress(done, total))
    elapsed_s = time.perf_counter() - begun
    if blank:
        note(_of_blank(blank))
    if cards is not None and sheet is not None:
        cards.write(sheet)
    refused = refusal(threshold, counts.refused, counts.images - counts.unreadable, expected)
    if refused is not None:
        note(_of_refused(refused))
    return Predictions(
        model=found.folder,
        images=counts.images,
        unreadable=counts.unreadable,
        out=None,
        device=next(model.parameters()).device.type,
        elapsed_s=round(elapsed_s, 3),
        images_per_s=round(counts.images / elapsed_s, 1) if elapsed_s else None,
        rejection=rejection(model.record, counts.unsure, counts.images - counts.unreadable),
        refusal=refused,
        sheet=sheet,
        predictions=None,
    )


def _of_refused(found: Refusal) -> str:
    share = f" ({found.share:.1%})" if found.share is not None else ""
    told = f"{found.refused:,} images{share} are refused, below a probability of "
    if found.expected_share is None:
        unknown = "how many to expect is unknown without the model's experiment"
        return f"{told}{found.threshold:g}; {unknown}"
    expected = f"{found.expected_share:.1%} of the target's validation images are"
    return f"{told}{found.threshold:g}; {expected}"


def _of_blank(images: Sequence[Path]) -> str:
    return (
        f"{len(images)} images are black or white throughout as the model sees them, such as "
        f"{printable(str(min(images)))}: their labels say nothing. 16-bit images need the range of "
        f"those it was trained on (preprocessing.grey_bits of {RECORD})"
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
    blank: list[Path] | None = None,
) -> Iterator[list[Classified]]:
    """Yield batches of predictions; ``blank`` gets the images of one colour throughout."""
    size = batch_size or batch_size_of(model)

    def read(file: Path) -> Image:
        pixels = model.read(file)
        if blank is not None and (pixels.max() <= DARK or pixels.min() >= 255 - DARK):
            blank.append(file)
        return pixels

    for batch in decoded_batches(files, read, size):
        images = [image for _, image in batch if not isinstance(image, UnreadableImageError)]
        logits = _logits(model, images) if images else None
        yield list(_classified(model, batch, logits, top, threshold))


@torch.no_grad()
def _logits(model: DannModel, images: list[Image]) -> Tensor:
    logits: Tensor = model(stacked(images).to(next(model.parameters()).device))
    return logits


def _classified(
    model: DannModel,
    batch: list[tuple[Path, Image | UnreadableImageError]],
    logits: Tensor | None,
    top: int,
    threshold: float | None,
) -> Iterator[Classified]:
    rows: Iterator[tuple[list[float], list[int], bool]] = iter(())
    if logits is not None:
        values, classes = (logits / model.temperature).softmax(1).topk(top)
        unsure = rejected(model.record, logits.double().cpu().numpy()).tolist()
        rows = iter(zip(values.tolist(), classes.tolist(), unsure, strict=True))
    for file, image in batch:
        path = printable(str(file))
        if isinstance(image, UnreadableImageError):
            yield Classified(
                FilePrediction(
                    path=path, label=None, probability=None, top=[], refused=False,
                    error=image.reason,
                ),
                None,
                False,
            )  # fmt: skip
            continue
        chances, numbers, is_unsure = next(rows)
        likeliest = [
            LabelProbability(label=model.class_names[number], probability=value)
            for value, number in zip(chances, numbers, strict=True)
        ]
        prediction = FilePrediction(
            path=path,
            label=likeliest[0].label,
            probability=likeliest[0].probability,
            top=likeliest,
            refused=threshold is not None and likeliest[0].probability < threshold,
            error=None,
        )
        yield Classified(prediction, image, is_unsure)
