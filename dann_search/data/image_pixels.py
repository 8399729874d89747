"""From any image to the pixels that a network sees. Needs NumPy and Pillow alone.

Packing, evaluating and predicting read images by this file, and exports carry a copy of it: an
image is prepared in one way everywhere.
"""

import os
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

ORIENTATION = 0x0112
"""The EXIF tag that says how an image is to be turned."""

VERSION = 1
"""Of the pixels that files give; to be raised with any change of them. Stores of another version
are packed anew."""

ImageSource = str | os.PathLike[str] | IO[bytes] | Image.Image | NDArray[Any]
Pixels = TypeVar("Pixels")


class UndecodableError(ValueError):
    """An image that cannot be decoded: where it comes from, and why."""

    def __init__(self, place: str, reason: str):
        super().__init__(f"{place}: not a readable image: {reason}")
        self.place, self.reason = place, reason


def read_pixels(source: ImageSource, side: int, crop_size: int | None = None) -> NDArray[np.uint8]:
    """Decode an image to RGB, turn it as EXIF says, scale its short side and crop the centre.

    Every colour mode of Pillow becomes RGB; 16 bits a channel become 8. The first image of an
    animation counts. A file, the same file opened with Pillow, loaded or not, and an array of its
    pixels give the same bytes; therefore JPEGs are decoded whole, not at a fraction of their size.

    Args:
        source: a path, a binary file, a Pillow image, which stays as it is, or an array as
            ``numpy.asarray`` makes of one: (height, width) or (height, width, 3 or 4).
        side: to which an image is scaled, in pixels.
        crop_size: side of the centre to return, where it is not the whole.

    Returns:
        An array of shape (3, side, side), or (3, crop_size, crop_size).

    Raises:
        UndecodableError: Pillow cannot read the image, or its pixels are numbers of unknown range.
    """
    try:
        if isinstance(source, np.ndarray):
            square = _square(Image.fromarray(source), side)
        elif isinstance(source, Image.Image):
            square = _square(source, side)
        elif isinstance(source, (str, os.PathLike)):
            # Not by its name: Pillow 13 maps the file then, and shears TIFFs that are to be turned.
            with open(source, "rb") as file, Image.open(file) as opened:
                square = _square(opened, side)
        elif hasattr(source, "read"):
            with Image.open(source) as opened:
                square = _square(opened, side)
        else:
            raise TypeError("expected a path, a binary file, a Pillow image or an array")
    # Pillow's decoders raise whatever a damaged file leads them to: struct.error, EOFError, …
    except Exception as exc:
        raise UndecodableError(_place(source), _reason(source, exc)) from None
    return np.ascontiguousarray(centre_crop(np.asarray(square).transpose(2, 0, 1), crop_size))


def centre_crop(pixels: Pixels, crop_size: int | None) -> Pixels:
    """Return a view of the centre of pixels (…, side, side), arrays or tensors; None: of all."""
    whole: Any = pixels
    side = whole.shape[-1]
    if crop_size is None or crop_size >= side:
        return pixels
    first = (side - crop_size) // 2
    centre: Pixels = whole[..., first : first + crop_size, first : first + crop_size]
    return centre


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
    if isinstance(source, np.ndarray):
        return f"an array of {source.dtype} {source.shape}"
    return "a file" if hasattr(source, "read") else f"an object of type {type(source).__name__}"


def _reason(source: ImageSource, exc: Exception) -> str:
    if not isinstance(exc, UnidentifiedImageError):
        return str(exc) or type(exc).__name__
    if isinstance(source, (str, os.PathLike)) and os.path.getsize(source) == 0:
        return "the file is empty"
    return "no kind of image that Pillow knows"
