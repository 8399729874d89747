"""From any image to the pixels that a network sees. Needs NumPy and Pillow alone.

Packing, evaluating and predicting read images by this file, and exports carry a copy of it: an
image is prepared in one way everywhere.
"""

import os
from typing import IO, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

ORIENTATION = 0x0112
"""The EXIF tag that says how an image is to be turned."""

VERSION = 2
"""Of the pixels that files give; to be raised with any change of them. Stores of another version
are packed anew."""

Transparency = Literal["white", "black", "ignored"]
"""What is seen through transparent pixels; ``ignored``: the colours that they hide."""

ImageSource = str | os.PathLike[str] | IO[bytes] | Image.Image | NDArray[Any]
Pixels = TypeVar("Pixels")


class UndecodableError(ValueError):
    """An image that cannot be decoded: where it comes from, and why."""

    def __init__(self, place: str, reason: str):
        super().__init__(f"{place}: not a readable image: {reason}")
        self.place, self.reason = place, reason


def read_pixels(
    source: ImageSource,
    side: int,
    crop_size: int | None = None,
    grey_bits: int | None = None,
    transparency: Transparency = "white",
) -> NDArray[np.uint8]:
    """Decode an image to RGB, turn it as EXIF says, scale its short side and crop the centre.

    Every colour mode of Pillow becomes RGB; 16 bits a channel become 8. The first image of an
    animation counts. A file, the same file opened with Pillow, loaded or not, and an array of its
    pixels give the same bytes; therefore JPEGs are decoded whole, not at a fraction of their size.

    Args:
        source: a path, a binary file, a Pillow image, which stays as it is, or an array as
            ``numpy.asarray`` makes of one: (height, width) or (height, width, 3 or 4).
        side: to which an image is scaled, in pixels.
        crop_size: side of the centre to return, where it is not the whole.
        grey_bits: bits, 8 to 16, that the values of 16-bit grey images use: ``2**grey_bits - 1``
            becomes white, and so does what is above. None: as many as each image needs
            (``bits_used``).
        transparency: what is seen through transparent pixels.

    Returns:
        An array of shape (3, side, side), or (3, crop_size, crop_size).

    Raises:
        UndecodableError: Pillow cannot read the image, or its pixels are numbers of unknown range.
    """
    how = side, grey_bits, transparency
    try:
        if isinstance(source, np.ndarray):
            square = _square(Image.fromarray(source), *how)
        elif isinstance(source, Image.Image):
            square = _square(source, *how)
        elif isinstance(source, (str, os.PathLike)):
            # Not by its name: Pillow 13 maps the file then, and shears TIFFs that are to be turned.
            with open(source, "rb") as file, Image.open(file) as opened:
                square = _square(opened, *how)
        elif hasattr(source, "read"):
            with Image.open(source) as opened:
                square = _square(opened, *how)
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


def is_one(images: Any) -> bool:
    """Whether an argument is a single image, not several of them."""
    if isinstance(images, np.ndarray):
        return images.ndim == 2 or (images.ndim == 3 and images.shape[2] in (1, 3, 4))
    return isinstance(images, (str, os.PathLike, Image.Image)) or hasattr(images, "read")


def bits_used(source: ImageSource) -> int | None:
    """Return the bits, 8 to 16, that the values of a 16-bit grey image use; None of any other.

    A thousandth of the pixels may lie above: sensors have pixels that are always white. What cannot
    be read has none.
    """
    try:
        with open(source, "rb") as file, Image.open(file) as opened:  # type: ignore[arg-type]
            if not opened.mode.startswith("I"):
                return None
            return _bits_of(_deep_values(opened))
    except Exception:  # reading the image says what is wrong
        return None


def _square(
    image: Image.Image, side: int, grey_bits: int | None, transparency: Transparency
) -> Image.Image:
    image.load()  # some formats tell the orientation only after the pixels
    if _is_turned(image):
        image = ImageOps.exif_transpose(image)
    image = _eight_bits(image, grey_bits)
    if transparency != "ignored" and image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, transparency)
        image = Image.alpha_composite(ground, image)
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


def _eight_bits(image: Image.Image, bits: int | None) -> Image.Image:
    """Return 16-bit grey images as 8-bit ones; ``convert`` would clip them to white."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    values = _deep_values(image)
    shifted = values >> ((bits or _bits_of(values)) - 8)
    return Image.fromarray(np.minimum(shifted, 255).astype(np.uint8))


def _deep_values(image: Image.Image) -> NDArray[np.int64]:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() >= 2**16:
        raise ValueError("its pixels are 32-bit numbers of unknown range")
    return values


def _bits_of(values: NDArray[np.int64]) -> int:
    above = values.size // 1000
    highest = int(np.partition(values, values.size - 1 - above, axis=None)[-1 - above])
    return max(8, highest.bit_length())


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
    if isinstance(source, (str, os.PathLike)) and not os.path.exists(source):
        if os.path.islink(source):
            return f"a link that leads nowhere (to {os.readlink(os.fspath(source))})"
        return "no such file"
    if not isinstance(exc, UnidentifiedImageError):
        return str(exc) or type(exc).__name__
    if isinstance(source, (str, os.PathLike)) and os.path.getsize(source) == 0:
        return "the file is empty"
    return "no kind of image that Pillow knows"
