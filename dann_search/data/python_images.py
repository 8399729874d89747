"""From an image as Python holds it to the bytes of a file that keeps all of its pixels.

The bytes depend on the pixels alone: those that Pillow writes are other ones with another zlib,
and images are divided into splits by the hash of their bytes.
"""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

CHANNELS = (1, 3, 4)
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Of a PNG, by its channels: grey, grey and alpha, RGB, RGBA."""
STORED = 0xFFFF
"""Bytes in a block that is stored without compression, at most."""
KINDS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}
"""Extensions of the files that are kept as they are, by Pillow's names of their formats."""


@dataclass(frozen=True)
class ImageFile:
    """The content of an image file and the extension that belongs to it."""

    content: bytes
    extension: str


def image_file(image: Any) -> ImageFile:
    """Return a file of an image: a Pillow image, an array, a tensor, or the bytes of a file.

    Arrays and tensors are of uint8, (height, width) or with 1, 3 or 4 channels, first or last; of
    uint16, they are grey.

    Raises:
        ValueError: it is none of these, or it cannot be told which of its axes holds the channels.
    """
    if isinstance(image, bytes):
        return _kept(image)
    if isinstance(image, Image.Image):
        return ImageFile(png(_pixels(image)), ".png")
    if hasattr(image, "detach"):  # a tensor, maybe on a GPU
        image = image.detach().cpu()
    if not hasattr(image, "__array__"):
        hint = "; files are listed in a manifest" if isinstance(image, str) else ""
        raise ValueError(
            f"expected a Pillow image, an array or a tensor, got {type(image).__name__}{hint}"
        )
    kind = str(image.dtype).removeprefix("torch.")
    if kind not in ("uint8", "uint16"):
        raise ValueError(
            f"expected values of uint8 (uint16 for grey images), got {kind}{_how(kind)}"
        )
    array = _channels_last(np.asarray(image))
    if kind == "uint16" and array.shape[2] > 1:
        raise ValueError("uint16 is for grey images; give colours as uint8: (x >> 8)")
    return ImageFile(png(array), ".png")


def png(pixels: NDArray[Any]) -> bytes:
    """Write pixels as an uncompressed PNG: uint8 (height, width, 1 to 4), or uint16 with one."""
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">"))
    lines = rows.view(np.uint8).reshape(height, -1)
    unfiltered = np.pad(lines, ((0, 0), (1, 0))).tobytes()
    depth = 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"".join(_stored(unfiltered))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _stored(data: bytes) -> Iterator[bytes]:
    """Yield a zlib stream that stores data as it is."""
    yield b"\x78\x01"
    for start in range(0, len(data), STORED):
        block = data[start : start + STORED]
        last = start + STORED >= len(data)
        yield struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    yield struct.pack(">I", zlib.adler32(data))


def _kept(content: bytes) -> ImageFile:
    """Keep a file's bytes if they are of a kind that is read from folders."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.format not in KINDS:
                return ImageFile(png(_pixels(opened)), ".png")
            return ImageFile(content, KINDS[opened.format])
    except Exception:  # what Pillow's decoders raise; packing tells of all such images at once
        return ImageFile(content, ".jpg")


def _pixels(image: Image.Image) -> NDArray[Any]:
    """Return the pixels that ``read_pixels`` sees of a Pillow image, before it scales them."""
    if not all(image.size):
        raise ValueError(f"it is empty: {image.width} x {image.height}")
    image.load()
    with contextlib.suppress(Exception):  # damaged EXIF says nothing
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() >= 2**16:
            raise ValueError("its pixels are 32-bit numbers of unknown range")
        return values.astype(np.uint16)[..., None]
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    if not array.size:
        raise ValueError(f"it is empty: shape {array.shape}")
    if array.ndim == 2:
        return array[..., None]
    first, last = (array.ndim == 3 and array.shape[axis] in CHANNELS for axis in (0, 2))
    if first == last:
        which = "either of which may be" if first else "of which none is"
        axes = f"its first and its last axis, {which} the channels: " if array.ndim == 3 else ""
        raise ValueError(
            f"expected (height, width), or with 1, 3 or 4 channels first or last; got {axes}"
            f"shape {array.shape}"
        )
    return array if last else array.transpose(1, 2, 0)


def _how(kind: str) -> str:
    if kind.startswith(("float", "bfloat")):
        return "; of values from 0 to 1 make (255 * x).round() as uint8, without normalization"
    if kind == "bool":
        return "; make 255 * x.astype('uint8') of it"
    return "; of values from 0 to 255 make x.astype('uint8')"
