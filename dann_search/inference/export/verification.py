"""Compare the probabilities of an export with those of its model, on images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dann_search.data.decode import UnreadableImageError, decode_image
from dann_search.data.training_data import as_tensor
from dann_search.errors import RunError
from dann_search.inference.batched_logits import decoded_batches, stacked
from dann_search.inference.image_files import check_words, image_files
from dann_search.inference.model import DannModel
from dann_search.outputs.models import Verification

TOLERANCE = 1e-4
"""Largest difference of a probability; correct exports differ by less than a tenth of it."""

MOST = 256
"""Images compared: enough to include every class, few enough for a large network on a CPU."""

SYNTHETIC = 64
AT_ONCE = 32


@dataclass(frozen=True)
class Images:
    """Uint8 images (n, 3, side, side) to compare on, and their description."""

    pixels: Tensor
    of: str


def images_for(model: DannModel, store: Path | None, folder: Path | None) -> Images:
    """Return images of the folder, else of the target's validation split, else synthetic ones.

    Raises:
        InputError: there is no image in the folder.
    """
    if folder is not None:
        return Images(_from_folder(model.stored_size, folder), f"images of {folder}")
    if store is not None:
        stored = as_tensor(store, "target", "val")
        chosen = stored[_evenly(len(stored))]
        return Images(_resized(chosen, model.stored_size), "target val images")
    return Images(_synthetic(model.stored_size), "synthetic images (--images FOLDER for real ones)")


def verify(model: DannModel, run: Callable[[Tensor], Tensor], images: Images) -> Verification:
    """Compare the probabilities of an export with those of its model, on the CPU.

    Raises:
        RunError: they differ by more than ``TOLERANCE``.
    """
    differences, agree = [], 0
    for batch in _batches(images.pixels):
        with torch.no_grad():
            expected = model.probabilities(batch)
        found = run(batch)
        if found.shape != expected.shape:
            raise RunError(f"the export gives {tuple(found.shape)}, not {tuple(expected.shape)}")
        differences.append(float((found - expected).abs().max()))
        agree += int((found.argmax(1) == expected.argmax(1)).sum())
    # numpy's maximum is nan if any difference is nan: such an export must be refused.
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:
        raise RunError(
            f"the export differs from its model: a probability by {largest:.1e} (tolerance "
            f"{TOLERANCE:.0e}) on {len(images.pixels)} {images.of}; nothing was written"
        )
    return Verification(
        images=len(images.pixels),
        of=images.of,
        max_difference=largest,
        top1_agree=agree,
        tolerance=TOLERANCE,
    )


def _batches(pixels: Tensor) -> Iterator[Tensor]:
    """Yield one image alone, then many: an export that holds a fixed batch size fails."""
    yield pixels[:1]
    yield from torch.split(pixels[1:], AT_ONCE) if len(pixels) > 1 else ()


def _evenly(count: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, MOST)).round().long()


def _from_folder(side: int, folder: Path) -> Tensor:
    check_words([folder])
    files = list(image_files([folder]))
    chosen = [files[row] for row in _evenly(len(files)).tolist()]
    found: list[Any] = []
    for batch in decoded_batches(chosen, lambda file: decode_image(file, side), AT_ONCE):
        for _, image in batch:
            if isinstance(image, UnreadableImageError):
                raise image
            found.append(image)
    return stacked(found)


def _resized(stored: Tensor, side: int) -> Tensor:
    """Scale images for a model of an earlier format, which does not record their stored side."""
    if stored.shape[-1] == side:
        return stored.contiguous()
    pieces = []
    for batch in torch.split(stored, AT_ONCE):
        scaled = F.interpolate(
            batch.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )
        pieces.append(scaled.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(pieces)


def _synthetic(side: int) -> Tensor:
    """Draw patches of colour, coarse and fine: nearer to photographs than noise is."""
    generator = torch.Generator().manual_seed(0)
    sizes = [2, 4, 8, 16]
    images = []
    for size in sizes:
        patches = torch.rand(SYNTHETIC // len(sizes), 3, size, size, generator=generator)
        images.append(F.interpolate(patches, size=(side, side), mode="bilinear"))
    return (torch.cat(images) * 255).round().to(torch.uint8)
