"""Classify many images, a batch at a time."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from dann_search.inference.find_model import FoundModel, find_model
from dann_search.inference.image_files import check_words, image_files
from dann_search.inference.model import DannModel, load_model
from dann_search.inference.model_files import RECORD
from dann_search.inference.rejection import count_rejected, rejection
from dann_search.outputs.models import FilePrediction, LabelProbability, Predictions


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
    return itertools.chain.from_iterable(batch for batch, _ in batches)


def predict_to(
    write: Callable[[FilePrediction], None],
    target: str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int | None = None,
    device: str = "auto",
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
        trust_extensions: as in ``load_model``, of a model folder.
        progress: called with the number of images done, and of all.
        note: called with each remark, such as on files that folders hold besides images.

    Returns:
        The counts and the time; ``predictions`` is None.

    Raises:
        InputError: as ``predict_files``.
        RunError: no file could be read.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    check_words(paths)
    found = find_model(target, trust_extensions)
    model = _model(found, device, top)
    images, unreadable, rejected, first = 0, 0, 0, None
    left_out, blank = LeftOut(), list[Path]()
    total = sum(1 for _ in image_files(paths, left_out))
    for remark in left_out.remarks():
        note(remark)
    begun = time.perf_counter()
    with warnings.catch_warnings():
        # Pillow warns of images above 89 megapixels, and refuses those above twice that.
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        batches = _predictions(model, image_files(paths), top, batch_size, blank)
        for batch, unsure in batches:
            rejected += unsure
            for prediction in batch:
                write(prediction)
                images += 1
                if prediction.error is not None:
                    unreadable, first = unreadable + 1, first or prediction
            progress(images, total)
    elapsed_s = time.perf_counter() - begun
    if blank:
        note(_of_blank(blank))
    if first and unreadable == images:
        raise RunError(
            f"none of the {images} files can be read; the first of them, {first.path}: "
            f"{first.error}"
        )
    return Predictions(
        model=found.folder,
        images=images,
        unreadable=unreadable,
        out=None,
        device=next(model.parameters()).device.type,
        elapsed_s=round(elapsed_s, 3),
        images_per_s=round(images / elapsed_s, 1) if elapsed_s else None,
        rejection=rejection(model.record, rejected, images - unreadable),
        predictions=None,
    )


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
    blank: list[Path] | None = None,
) -> Iterator[tuple[list[FilePrediction], int]]:
    """Yield batches of predictions, and how many of each the model is too unsure of.

    ``blank`` gets the images of one colour throughout.
    """
    size = batch_size or batch_size_of(model)

    def read(file: Path) -> Image:
        pixels = model.read(file)
        if blank is not None and (pixels.max() <= DARK or pixels.min() >= 255 - DARK):
            blank.append(file)
        return pixels

    for batch in decoded_batches(files, read, size):
        images = [image for _, image in batch if not isinstance(image, UnreadableImageError)]
        logits = _logits(model, images) if images else None
        unsure = (
            0 if logits is None else count_rejected(model.record, logits.double().cpu().numpy())
        )
        yield list(_classified(model, batch, logits, top)), unsure


@torch.no_grad()
def _logits(model: DannModel, images: list[Image]) -> Tensor:
    logits: Tensor = model(stacked(images).to(next(model.parameters()).device))
    return logits


def _classified(
    model: DannModel,
    batch: list[tuple[Path, Image | UnreadableImageError]],
    logits: Tensor | None,
    top: int,
) -> Iterator[FilePrediction]:
    rows: Iterator[tuple[list[float], list[int]]] = iter(())
    if logits is not None:
        values, classes = (logits / model.temperature).softmax(1).topk(top)
        rows = iter(zip(values.tolist(), classes.tolist(), strict=True))
    for file, image in batch:
        path = printable(str(file))
        error = image.reason if isinstance(image, UnreadableImageError) else None
        likeliest = [
            LabelProbability(label=model.class_names[number], probability=value)
            for value, number in ([] if error else zip(*next(rows), strict=True))
        ]
        yield FilePrediction(
            path=path,
            label=likeliest[0].label if likeliest else None,
            probability=likeliest[0].probability if likeliest else None,
            top=likeliest,
            error=error,
        )
