"""Compare the probabilities of an export with those of its model, on images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dann_search.data.image_pixels import ORIENTATION, ImageSource
from dann_search.data.store import open_images
from dann_search.errors import RunError
from dann_search.inference.export.programs import Run
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
    """Images to compare on, as files or as Pillow has them, and their description."""

    sources: Sequence[ImageSource]
    of: str


def images_for(model: DannModel, store: Path | None, folder: Path | None, odd: Path) -> Images:
    """Return images of the folder, else of the target's validation split, else synthetic ones.

    With them go odd ones, which are written into the folder ``odd``.

    Raises:
        InputError: there is no image in the folder.
    """
    sources: list[ImageSource]
    if folder is not None:
        found = list(image_files(check_words(folder)))
        sources, of = [found[row] for row in _evenly(len(found))], f"images of {folder}"
    elif store is not None:
        stored = open_images(store, "target", "val")
        sources = [pixels.transpose(1, 2, 0) for pixels in stored[_evenly(len(stored))]]
        of = "target val images"
    else:
        sources = _synthetic(model.stored_size)
        of = "synthetic images, --images FOLDER for real ones"
    files = write_odd_images(odd)
    of = f"images ({len(sources)} {of}; {len(files)} odd files)"
    return Images([*sources, *files], of)


def verify(model: DannModel, run: Run, images: Images) -> Verification:
    """Compare the probabilities of an export with those of its model, on the CPU.

    Raises:
        RunError: they differ by more than ``TOLERANCE``.
    """
    differences, agree = [], 0
    for batch in _batches(images.sources):
        with torch.no_grad():
            expected = model.probabilities(model.batch(batch))
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
            f"{TOLERANCE:.0e}) on {len(images.sources)} {images.of}; nothing was written"
        )
    return Verification(
        images=len(images.sources),
        of=images.of,
        max_difference=largest,
        top1_agree=agree,
        tolerance=TOLERANCE,
    )


def _batches(sources: Sequence[ImageSource]) -> Iterator[Sequence[ImageSource]]:
    """Yield one image alone, then many: an export that holds a fixed batch size fails."""
    yield sources[:1]
    yield from (sources[at : at + AT_ONCE] for at in range(1, len(sources), AT_ONCE))


def _evenly(count: int) -> list[int]:
    return [round(place) for place in np.linspace(0, count - 1, min(count, MOST))]


def _synthetic(side: int) -> list[ImageSource]:
    """Draw patches of colour, coarse and fine: nearer to photographs than noise is."""
    rng = np.random.default_rng(0)
    sizes = [2, 4, 8, 16]
    return [
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).resize((side, side))
        for size in sizes
        for _ in range(SYNTHETIC // len(sizes))
    ]


def write_odd_images(folder: Path) -> list[Path]:
    """Write files of every odd kind: turned by EXIF, of other colours, tall, tiny, oddly named."""
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 60, 3), np.uint8))
    deep = Image.fromarray(np.linspace(0, 65535, 45 * 60).reshape(45, 60).astype(np.uint16))
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "16 bits.png": (deep, {}),
        "CMYK.JPG": (upright.convert("CMYK"), {"format": "JPEG"}),
        "alpha.webp.png": (upright.convert("RGBA"), {}),
        "grey.tif": (upright.convert("L"), {}),
        "grey and alpha.png": (upright.convert("LA"), {}),
        "palette.png": (upright.quantize(16), {"transparency": 3}),
        "tall.bmp": (upright.resize((9, 300)), {}),
        "tiny": (upright.resize((1, 2)), {"format": "PNG"}),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        kinds[f"turned {orientation}.jpeg"] = upright, {"exif": exif}
    for name, (image, options) in kinds.items():
        image.save(folder / name, **options)
    return [folder / name for name in kinds]
