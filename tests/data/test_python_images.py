"""Any image that Python holds becomes a file that is read as the same pixels."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dann_search.data.image_pixels import bits_used, read_pixels
from dann_search.data.python_images import image_file, png

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
DEEP = np.random.default_rng(1).integers(0, 4096, (5, 7), dtype=np.uint16)
ALPHA = np.dstack([COLOURS, GREY])


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (COLOURS, COLOURS),
        (COLOURS.transpose(2, 0, 1), COLOURS),
        (torch.from_numpy(COLOURS.transpose(2, 0, 1).copy()), COLOURS),
        (GREY, GREY),
        (GREY[None], GREY),
        (GREY[..., None], GREY),
        (ALPHA, ALPHA),
        (DEEP, DEEP),
        (torch.from_numpy(DEEP)[None], DEEP),
        (COLOURS[::-1, ::2], COLOURS[::-1, ::2]),
    ],
)  # fmt: skip
def test_arrays_and_tensors_are_kept_to_the_last_bit(image: Any, expected: Any) -> None:
    assert np.array_equal(np.asarray(opened(image_file(image).content)), expected)


def test_the_bytes_of_a_file_are_the_same_with_every_zlib() -> None:
    """Read off once: a change divides written domains anew."""
    assert png(np.array([[[1], [2]]], dtype=np.uint8)).hex() == (
        "89504e470d0a1a0a"
        "0000000d4948445200000002000000010800000000" "d1492056"
        "0000000e49444154" "7801" "010300fcff" "000102" "00070004" "6cf83968"
        "0000000049454e44ae426082"
    )  # fmt: skip


def test_an_image_of_many_blocks_is_whole() -> None:
    large = np.random.default_rng(2).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(opened(png(large))), large)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_a_pillow_image_is_prepared_as_it_would_be_itself(mode: str) -> None:
    image = Image.fromarray(DEEP) if mode == "I;16" else Image.fromarray(ALPHA).convert(mode)
    file = image_file(image)
    assert file.extension == ".png"
    again = read_pixels(io.BytesIO(file.content), 5)
    assert np.array_equal(again, read_pixels(image, 5))


def test_an_image_that_exif_turns_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        assert opened(image_file(image).content).size == (5, 7)
        assert image.size == (7, 5)


def test_grey_images_of_16_bits_have_their_range(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image_file(DEEP).content)
    assert bits_used(tmp_path / "a.png") == 12


@pytest.mark.parametrize(
    ("kind", "extension"),
    [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("BMP", ".bmp")],
)
def test_the_bytes_of_a_file_are_kept(kind: str, extension: str) -> None:
    content = io.BytesIO()
    Image.fromarray(COLOURS).save(content, kind)
    file = image_file(content.getvalue())
    assert (file.content, file.extension) == (content.getvalue(), extension)


def test_the_bytes_of_another_kind_of_file_become_a_png() -> None:
    content = io.BytesIO()
    Image.fromarray(GREY).save(content, "GIF")
    file = image_file(content.getvalue())
    assert file.extension == ".png"
    assert np.array_equal(read_pixels(io.BytesIO(file.content), 5), read_pixels(content, 5))


def test_bytes_of_no_image_are_left_for_packing_to_tell_of() -> None:
    assert image_file(b"no image").content == b"no image"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            COLOURS / np.float32(255),
            r"uint8 .*got float32; of values from 0 to 1 make \(255 \* x\)",
        ),
        (torch.zeros(3, 5, 7, dtype=torch.bfloat16), "got bfloat16; of values from 0 to 1"),
        (COLOURS.astype(np.int64), r"got int64; of values from 0 to 255 make x.astype\('uint8'\)"),
        (GREY > 0, r"got bool; make 255 \*"),
        (COLOURS.astype(np.uint16), "uint16 is for grey images"),
        (np.zeros((3, 9, 3), np.uint8), r"either of which may be the channels: shape \(3, 9, 3\)"),
        (np.zeros((5, 7, 2), np.uint8), r"of which none is the channels: shape \(5, 7, 2\)"),
        (np.zeros((2, 5, 7, 3), np.uint8), r"first or last; got shape \(2, 5, 7, 3\)"),
        (np.zeros(784, np.uint8), r"got shape \(784,\)"),
        (np.zeros((0, 7), np.uint8), r"it is empty: shape \(0, 7\)"),
        (Image.new("I", (0, 7)), "it is empty: 0 x 7"),
        (Image.new("RGB", (7, 0)), "it is empty: 7 x 0"),
        ("a.png", "got str; files are listed in a manifest"),
        (None, "got NoneType"),
        (Image.fromarray(GREY / np.float32(255)), "floating-point numbers of unknown range"),
        (Image.fromarray(GREY.astype(np.int32) - 300), "32-bit numbers of unknown range"),
    ],
)
def test_what_is_no_image_of_known_range_and_layout_is_refused(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_file(image)
