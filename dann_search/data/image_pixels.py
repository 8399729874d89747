"""From any image to the pixels that a network sees. Needs NumPy and Pillow alone.

Packing, evaluating and predicting read images by this file, and exports carry a copy of it: an
image is prepared in one way everywhere.
"""

import os
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

ORIENTATION = 0x0112
"""The EXIF tag that says how an image is to be turned."""

ImageSource = str | os.PathLike[str] | IO[bytes] | Image.Image


class UndecodableError(ValueError):
    """An image that cannot be decoded: where it comes from, and why."""

    def __init__(self, place: str, reason: str):
        super().__init__(f"{place}: not a readable image: {reason}")
        self.place, self.reason = place, reason


def read_pixels(source: ImageSource, side: int) -> NDArray[np.uint8]:
    """Decode an image to RGB, turn it as EXIF says, scale its short side and crop the centre.

    Every colour mode of Pillow becomes RGB; 16 bits a channel become 8. The first image of an
    animation counts. A file and the same file opened with Pillow, loaded or not, give the same
    bytes; therefore JPEGs are decoded whole, not at a fraction of their size.

    Args:
        source: a path, a binary file, or a Pillow image, which stays as it is.
        side: of the result, in pixels.

    Returns:
        An array of shape (3, side, side).

    Raises:
        UndecodableError: Pillow cannot read the image, or its pixels are numbers of unknown range.
    """
    try:
        if isinstance(source, Image.Image):
            square = _square(source, side)
        elif isinstance(source, (str, os.PathLike)):
            # Not by its name: Pillow 13 maps the file then, and shears TIFFs that are to be turned.
            with open(source, "rb") as file, Image.open(file) as opened:
                square = _square(opened, side)
        elif hasattr(source, "read"):
            with Image.open(source) as opened:
                square = _square(opened, side)
        else:
            raise TypeError("expected a path, a binary file or a Pillow image")
    # Pillow's decoders raise whatever a damaged file leads them to: struct.error, EOFError, …
    except Exception as exc:
        raise UndecodableError(_place(source), _reason(source, exc)) from None
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _square(image: Image.Image, side: int) -> Image.Image:
    image.load()  # some formats tell the orientation only after the pixels
    if _is_turned(image):
        image = ImageOps.exif_transpose(image)
    image = _eight_bits(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)


def _is_turned(image: Image.Image) -> bool:
    try:
        return bool(image.getexif().get(ORIENTATION, 1) != 1)
    # Damaged EXIF says nothing. Pillow raises only the first time it is read: the file itself would
    # pass, a copy of the opened image would not.
    except Exception:
        return False


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return the high byte of 16-bit grey images, which ``convert`` would clip to white."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() >= 2**16:
        raise ValueError("its pixels are 32-bit numbers of unknown range")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _place(source: ImageSource) -> str:
    """Return how a message calls an image: its file's name where it has one."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name: Any = getattr(source, "filename", None) or getattr(source, "name", None)
    if name:
        return str(name)
    if isinstance(source, Image.Image):
        return f"an image of mode {source.mode}"
    return "a file" if hasattr(source, "read") else f"an object of type {type(source).__name__}"


def _reason(source: ImageSource, exc: Exception) -> str:
    if not isinstance(exc, UnidentifiedImageError):
        return str(exc) or type(exc).__name__
    if isinstance(source, (str, os.PathLike)) and os.path.getsize(source) == 0:
        return "the file is empty"
    return "no kind of image that Pillow knows"
