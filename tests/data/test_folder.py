"""Folders of class folders, with real image files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dann_search.data.decode import decode_image
from dann_search.data.folder import load_folder_domain
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


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("truncated", "truncated"),
        ("text", "no kind of image that Pillow knows"),
        ("empty", "the file is empty"),
        ("header only", ""),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: str, reason: str) -> None:
    noise(0, 64, 64).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "text": b"no image", "empty": b"",
               "header only": whole[:20]}[damage]  # fmt: skip
    file = tmp_path / "bad.jpg"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.jpg: not a readable image: .*{reason}"):
        decode_image(file, 16)


def test_a_folder_without_classes_or_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such folder: \S+nowhere$"):
        load_folder_domain(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected one folder a class .* found no folders"):
        load_folder_domain(tmp_path)
    (tmp_path / "mug").mkdir()
    with pytest.raises(InputError, match="found 1 folder and no image"):
        load_folder_domain(tmp_path)


def test_a_file_in_the_place_of_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    for name, remedy in (("photos.zip", "unpack it"), ("photos.csv", "is named under 'manifest'")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError, match=f"not a folder but a file: .*{name}; .*{remedy}"):
            load_folder_domain(tmp_path / name)


def test_a_folder_of_a_similar_name_is_offered(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=r"no such folder: \S+photo; did you mean 'photos'\?"):
        load_folder_domain(tmp_path / "photo")


def test_images_beside_class_folders_or_splits_are_refused(tmp_path: Path) -> None:
    classes = write_domain(tmp_path / "classes", {"bike": 1})
    splits = tmp_path / "splits"
    for split in ("train", "test"):
        write_domain(splits / split, {"bike": 1})
    for root in (classes, splits):
        noise(1).save(root / "._loose.jpg")
        load_folder_domain(root)  # macOS leaves such files
        for name in ("loose.jpg", "more.jpg"):
            noise(1).save(root / name)
        with pytest.raises(InputError, match=r"beside them \(2, such as loose\.jpg\); move"):
            load_folder_domain(root)


def test_an_empty_class_folder_is_refused_by_name(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "d", {"bike": 2})
    (root / "mug").mkdir()
    with pytest.raises(InputError, match="no image in the class folder 'mug'; remove it or fill"):
        load_folder_domain(root)


def test_sixteen_bits_a_pixel_become_eight(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "deep.tif")
    Image.fromarray((ramp / 257).astype(np.uint8)).save(tmp_path / "shallow.png")
    expected = decode_image(tmp_path / "shallow.png", 64).astype(int)
    for name in ("deep.png", "deep.tif"):
        assert abs(decode_image(tmp_path / name, 64) - expected).max() <= 1
    Image.fromarray((ramp * 9).astype(np.int32)).save(tmp_path / "deeper.tif")
    with pytest.raises(InputError, match=r"deeper\.tif: .*32-bit numbers"):
        decode_image(tmp_path / "deeper.tif", 64)


def test_the_first_image_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert decode_image(tmp_path / "moving.webp", 8).min() == 255


def test_a_large_jpeg_decoded_at_a_fraction_looks_as_decoded_whole(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:900, 0:1200]
    wave = 127 + 80 * np.sin(rows / 90) + 40 * np.cos(columns / 70)
    Image.fromarray(np.stack([wave] * 3, 2).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as opened:
        opened.convert("RGB").save(tmp_path / "a.png")
    difference = decode_image(tmp_path / "a.jpg", 64).astype(int) - decode_image(
        tmp_path / "a.png", 64
    )
    assert abs(difference).max() <= 3


def test_splits_of_the_owner_are_read_under_their_usual_names(tmp_path: Path) -> None:
    for split, count in ("train", 2), ("valid", 1), ("test", 1):
        write_domain(tmp_path / "d" / split, {"mug": count, "bike": 1})
    domain = load_folder_domain(tmp_path / "d")
    assert domain.class_names == ("bike", "mug")
    assert domain.splits is not None
    where = [
        (split, Path(place).parent.name)
        for split, place in zip(domain.splits, domain.places, strict=True)
    ]
    assert sorted(where) == [
        ("test", "bike"),
        ("test", "mug"),
        ("train", "bike"),
        ("train", "mug"),
        ("train", "mug"),
        ("val", "bike"),
        ("val", "mug"),
    ]


def test_classes_of_these_names_beside_others_are_classes(tmp_path: Path) -> None:
    domain = load_folder_domain(write_domain(tmp_path / "d", {"train": 1, "bus": 1, "test": 1}))
    assert domain.class_names == ("bus", "test", "train") and domain.splits is None


def test_a_broken_layout_of_splits_is_refused(tmp_path: Path) -> None:
    write_domain(tmp_path / "d" / "train", {"mug": 1})
    write_domain(tmp_path / "d" / "val", {"mug": 1})
    with pytest.raises(InputError, match="holds the splits train, val but no test"):
        load_folder_domain(tmp_path / "d")
    write_domain(tmp_path / "d" / "test", {"mug": 1})
    noise(1).save(tmp_path / "d" / "train" / "loose.jpg")
    with pytest.raises(InputError, match=r"both folders and images .*1, such as loose\.jpg"):
        load_folder_domain(tmp_path / "d")
    (tmp_path / "d" / "train" / "loose.jpg").rename(tmp_path / "d" / "test" / "loose.jpg")
    with pytest.raises(InputError, match=r"test/loose\.jpg: an image without a class folder"):
        load_folder_domain(tmp_path / "d")


def test_files_of_other_kinds_are_told(tmp_path: Path) -> None:
    root = write_domain(tmp_path / "d", {"mug": 1})
    for name in ("a.gif", "b.gif", "notes.txt"):
        (root / "mug" / name).touch()
    [remark] = load_folder_domain(root).remarks
    assert remark.endswith("skipped 3 files of unsupported types (2 .gif, 1 .txt)")
