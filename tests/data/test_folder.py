"""Folders of class folders, with real image files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dann_search.data.folder import decode_image, load_folder_domain
from dann_search.errors import InputError
from tests.data.images import noise, write_domain


def test_classes_are_the_folders_in_order_of_their_names(tmp_path: Path) -> None:
    domain = load_folder_domain(write_domain(tmp_path / "amazon", {"mug": 2, "bike": 3}))
    assert domain.name == "amazon"
    assert domain.class_names == ("bike", "mug")
    assert list(domain.labels) == [0, 0, 0, 1, 1]
    assert Path(domain.places[3]) == tmp_path / "amazon" / "mug" / "000.jpg"


def test_a_hash_is_of_the_content_not_of_the_name(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "d", {"a": 2})
    (root / "a" / "copy.jpg").write_bytes((root / "a" / "000.jpg").read_bytes())
    first, second, copy = load_folder_domain(root).keys
    assert first == copy != second


def test_nested_and_upper_case_files_count_and_hidden_or_other_ones_do_not(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "d", {"a": 1, "b": 1})
    (root / "a" / "more").mkdir()
    noise(1).save(root / "a" / "more" / "x.JPG", "JPEG")
    (root / "a" / "._000.jpg").write_bytes(b"macOS")
    (root / "a" / "notes.txt").write_text("no image")
    (root / ".cache").mkdir()
    domain = load_folder_domain(root)
    assert domain.class_names == ("a", "b")
    assert [Path(place).name for place in domain.places] == ["000.jpg", "x.JPG", "000.jpg"]


def test_an_image_is_turned_as_its_exif_tag_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), "black")
    image.paste("white", (0, 0, 32, 16))  # white above black
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    image.save(tmp_path / "turned.jpg", exif=exif)
    shown = decode_image(tmp_path / "turned.jpg", 32)[0]
    assert shown[:, 20:].mean() > 200 and shown[:, :12].mean() < 50


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "jpg"), ("P", "png"), ("RGBA", "png"), ("CMYK", "jpg"), ("1", "png")]
)
def test_every_colour_mode_becomes_three_channels(tmp_path: Path, mode: str, kind: str) -> None:
    file = tmp_path / f"image.{kind}"
    noise(0).convert(mode).save(file)
    image = decode_image(file, 8)
    assert image.shape == (3, 8, 8) and image.dtype == np.uint8


def test_a_grey_image_has_three_equal_channels(tmp_path: Path) -> None:
    noise(0).convert("L").save(tmp_path / "grey.jpg")
    image = decode_image(tmp_path / "grey.jpg", 8)
    assert (image[0] == image[1]).all() and (image[1] == image[2]).all()


def test_the_centre_is_cropped_not_squeezed(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 20), "black")
    image.paste("white", (20, 0, 40, 20))
    image.save(tmp_path / "wide.png")
    assert decode_image(tmp_path / "wide.png", 20).min() == 255


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "header only"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    noise(0, 64, 64).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "text": b"no image", "empty": b"",
               "header only": whole[:20]}[damage]  # fmt: skip
    file = tmp_path / "bad.jpg"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.jpg: not a readable image: "):
        decode_image(file, 16)


def test_a_folder_without_classes_or_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        load_folder_domain(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected one folder a class .* found no folders"):
        load_folder_domain(tmp_path)
    (tmp_path / "mug").mkdir()
    with pytest.raises(InputError, match="found 1 folders and no image"):
        load_folder_domain(tmp_path)


def test_an_empty_class_folder_is_refused_by_name(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "d", {"bike": 2})
    (root / "mug").mkdir()
    with pytest.raises(InputError, match="no image in the class folder 'mug'; remove it or fill"):
        load_folder_domain(root)
