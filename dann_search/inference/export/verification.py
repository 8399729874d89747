"""Whether an export says what its model says, on real images."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
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

TOLERANCE = 1e-4
"""Largest difference of a probability: exports that are right differ by less than a tenth of it."""

MOST = 256
"""Images compared: enough to meet every class, few enough for a large network on a CPU."""

SYNTHETIC = 64
AT_ONCE = 32


@dataclass(frozen=True)
class Verification:
    """What a comparison of export and model came to.

    Attributes:
        images: how many were compared.
        of: which.
        max_difference: the largest, of any class's probability on any image.
        top1_agree: images whose likeliest class is the same.
        tolerance: the largest difference that is let pass.
    """

    images: int
    of: str
    max_difference: float
    top1_agree: int
    tolerance: float = TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Part of ``export --json`` and of the export's model.json."""
        return asdict(self)

    def line(self) -> str:
        """One sentence of it."""
        return (
            f"verified on {self.images} {self.of}: largest difference of probabilities "
            f"{self.max_difference:.1e} (tolerance {self.tolerance:.0e}), top-1 agrees on "
            f"{self.top1_agree} of {self.images}"
        )


@dataclass(frozen=True)
class Images:
    """Uint8 images (n, 3, side, side) to compare on, and which they are."""

    pixels: Tensor
    of: str


def images_for(model: DannModel, store: Path | None, folder: Path | None) -> Images:
    """Images of a folder; else of the target's validation split; else, said so, synthetic ones.

    Raises:
        InputError: no image in the folder.
    """
    if folder is not None:
        return Images(_from_folder(model.stored_size, folder), f"images of {folder}")
    if store is not None:
        stored = as_tensor(store, "target", "val")
        chosen = stored[_evenly(len(stored))]
        return Images(_resized(chosen, model.stored_size), "target val images")
    return Images(_synthetic(model.stored_size), "synthetic images (--images FOLDER for real ones)")


def verify(model: DannModel, run: Callable[[Tensor], Tensor], images: Images) -> Verification:
    """Compare probabilities, on the CPU.

    Raises:
        RunError: they differ by more than the tolerance.
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
    # Of numbers that are none, the maximum must be none too.
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:
        raise RunError(
            f"the export differs from its model: a probability by {largest:.1e} (tolerance "
            f"{TOLERANCE:.0e}) on {len(images.pixels)} {images.of}; nothing was written"
        )
    return Verification(len(images.pixels), images.of, largest, agree)


def _batches(pixels: Tensor) -> Iterator[Tensor]:
    """One image alone, then many: a program that has learnt a batch size by heart fails."""
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
    """Scale images for a model of an earlier format, which does not say at which side they lie."""
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
    """Patches of colour, coarse and fine, the same every time: nearer to photographs than noise."""
    generator = torch.Generator().manual_seed(0)
    sizes = [2, 4, 8, 16]
    images = []
    for size in sizes:
        patches = torch.rand(SYNTHETIC // len(sizes), 3, size, size, generator=generator)
        images.append(F.interpolate(patches, size=(side, side), mode="bilinear"))
    return (torch.cat(images) * 255).round().to(torch.uint8)
