"""From an image file to pixels of one size, whatever was saved in it."""

from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from dann_search.data.domain import Image
from dann_search.errors import InputError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class UnreadableImageError(InputError):
    """A file that is no image that can be decoded."""

    def __init__(self, place: str, reason: str):
        super().__init__(f"{place}: not a readable image: {reason}")
        self.place, self.reason = place, reason


def decode_image(file: Path, side: int) -> Image:
    """Decode to RGB, turn as EXIF says, scale the short side to ``side`` and crop the centre.

    The first image of an animation counts; 16 bits a channel become 8. JPEGs are decoded at a
    fraction of their size that is still twice what is needed, which makes enormous ones cheap.

    Returns:
        uint8, shape (3, side, side).

    Raises:
        UnreadableImageError: Pillow cannot read the file, or its pixels are floating-point numbers.
    """
    try:
        with PILImage.open(file) as opened:
            opened.draft(None, (2 * side, 2 * side))
            image = _eight_bits(ImageOps.exif_transpose(opened)).convert("RGB")
    except UnidentifiedImageError:
        empty = file.stat().st_size == 0
        reason = "the file is empty" if empty else "no kind of image that Pillow knows"
        raise UnreadableImageError(str(file), reason) from None
    # Pillow's decoders raise whatever a damaged file leads them to: struct.error, EOFError, …
    except Exception as exc:
        raise UnreadableImageError(str(file), str(exc) or type(exc).__name__) from None
    return fit(image, side)


def fit(image: PILImage.Image, side: int) -> Image:
    """Scale the short side and crop the centre: uint8, shape (3, side, side)."""
    square = ImageOps.fit(image, (side, side), PILImage.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1)


def _eight_bits(image: PILImage.Image) -> PILImage.Image:
    """The high byte of 16-bit grey images, which Pillow's own conversion would clip to white."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() >= 2**16:
        raise ValueError("its pixels are 32-bit numbers of unknown range")
    return PILImage.fromarray((values >> 8).astype(np.uint8))
