"""Labels of many images: read, classified and told of a batch at a time."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image as PILImage

from dann_search.data.decode import UnreadableImageError, decode_image
from dann_search.data.domain import Image
from dann_search.errors import InputError, RunError
from dann_search.inference.batched_logits import (
    batch_size_of,
    decoded_batches,
    find_device,
    stacked,
)
from dann_search.inference.find_model import find_model
from dann_search.inference.image_files import check_words, image_files
from dann_search.inference.model import DannModel, load_model

REMEMBERED = 20
"""Unreadable files that the summary names; the predictions tell of all."""


@dataclass(frozen=True)
class FilePrediction:
    """What the model says of one file: classes with their probabilities, the likeliest first.

    ``error`` says why a file could not be read; there are no classes then.
    """

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A line of JSON."""
        label, probability = self.top[0] if self.top else (None, None)
        return {
            "path": self.path,
            "label": label,
            "probability": probability,
            "top": [{"label": name, "probability": value} for name, value in self.top],
            "error": self.error,
        }


@dataclass
class Summary:
    """What a run of ``predict`` came to."""

    model: str
    device: str
    images: int = 0
    unreadable: int = 0
    elapsed_s: float = 0.0
    out: str | None = None
    first_unreadable: list[FilePrediction] = field(default_factory=list)

    def count(self, prediction: FilePrediction) -> None:
        """Take one more in."""
        self.images += 1
        if prediction.error is not None:
            self.unreadable += 1
            if len(self.first_unreadable) < REMEMBERED:
                self.first_unreadable.append(prediction)

    def to_json(self) -> dict[str, Any]:
        """As ``predict --json`` prints it, less the predictions."""
        return {
            "model": self.model,
            "images": self.images,
            "unreadable": self.unreadable,
            "out": self.out,
            "device": self.device,
            "elapsed_s": round(self.elapsed_s, 3),
            "images_per_s": round(self.images / self.elapsed_s, 1) if self.elapsed_s else None,
        }

    def lines(self) -> list[str]:
        """What people read when it is over: files that could not be read, and the count."""
        found = self.first_unreadable
        lines = [f"cannot be read: {one.path}: {one.error}" for one in found]
        if (more := self.unreadable - len(found)) > 0:
            lines.append(f"… and {more} more; their predictions have an error")
        done = f"{self.images - self.unreadable:,} images classified in {self.elapsed_s:.1f} s"
        skipped = f", {self.unreadable:,} cannot be read" if self.unreadable else ""
        return [*lines, f"{done}{skipped}" + (f": {self.out}" if self.out else "")]


def predict_files(
    target: str | Path,
    paths: Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int | None = None,
    device: str = "auto",
) -> Iterator[FilePrediction]:
    """Classify images, one prediction a file in the order of the files.

    Memory does not grow with their number.

    Args:
        target: a model's folder, or an experiment, whose best model is used.
        paths: files, folders, patterns.
        top: classes to tell of.
        batch_size: images at a time; by default as many as fit well.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.

    Raises:
        InputError: no model, no such files, more classes asked for than there are.
    """
    check_words(paths)
    model = _model(find_model(target).folder, device, top)
    batches = _predictions(model, image_files(paths), top, batch_size)
    return itertools.chain.from_iterable(batches)


def predict_to(
    write: Callable[[FilePrediction], None],
    target: str | Path,
    paths: Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Summary:
    """``predict_files``, handing each prediction to a function, with a summary at the end.

    Args:
        write: takes one prediction after another.
        target: a model's folder, or an experiment.
        paths: files, folders, patterns.
        top: classes to tell of.
        batch_size: images at a time.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: told how many images of how many are done.

    Raises:
        InputError: as ``predict_files``.
        RunError: not one of the files could be read.
    """
    check_words(paths)
    found = find_model(target)
    model = _model(found.folder, device, top)
    summary = Summary(str(found.folder), next(model.parameters()).device.type)
    total = sum(1 for _ in image_files(paths))
    begun = time.perf_counter()
    with warnings.catch_warnings():
        # Pillow warns of images above 89 megapixels, and refuses those above twice that.
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        for batch in _predictions(model, image_files(paths), top, batch_size):
            for prediction in batch:
                write(prediction)
                summary.count(prediction)
            progress(summary.images, total)
    summary.elapsed_s = time.perf_counter() - begun
    if summary.unreadable == summary.images:
        first = summary.first_unreadable[0]
        raise RunError(
            f"none of the {summary.images} files can be read, the first of them, {first.path}: "
            f"{first.error}"
        )
    return summary


def _model(folder: Path, device: str, top: int) -> DannModel:
    where = find_device(device)
    model = load_model(folder).to(where)
    if top > len(model.class_names):
        raise InputError(f"--top {top}: the model knows {len(model.class_names)} classes")
    return model


def _predictions(
    model: DannModel, files: Iterable[Path], top: int, batch_size: int | None
) -> Iterator[list[FilePrediction]]:
    side = model.stored_size
    size = batch_size or batch_size_of(model)
    for batch in decoded_batches(files, lambda file: decode_image(file, side), size):
        yield list(_classified(model, batch, top))


@torch.no_grad()
def _classified(
    model: DannModel, batch: list[tuple[Path, Image | UnreadableImageError]], top: int
) -> Iterator[FilePrediction]:
    images = [image for _, image in batch if not isinstance(image, UnreadableImageError)]
    rows: Iterator[tuple[list[float], list[int]]] = iter(())
    if images:
        device = next(model.parameters()).device
        values, classes = model.probabilities(stacked(images).to(device)).topk(top)
        rows = iter(zip(values.tolist(), classes.tolist(), strict=True))
    for file, image in batch:
        # A name that is no UTF-8 can be opened, but not be written down as it is.
        path = str(file).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        if isinstance(image, UnreadableImageError):
            yield FilePrediction(path, error=image.reason)
        else:
            found = zip(*next(rows), strict=True)
            yield FilePrediction(
                path, tuple((model.class_names[number], value) for value, number in found)
            )
