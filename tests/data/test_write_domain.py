"""Images and labels of Python objects become a folder that is a domain, whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import dann_search
from dann_search.config.data import DomainConfig, SplitsConfig
from dann_search.data import write_domain as writing
from dann_search.data.domain import Domain
from dann_search.data.open_domain import open_domain
from dann_search.data.splits import split_domain
from dann_search.data.target_has_labels import target_has_labels
from dann_search.data.write_domain import write_domain
from dann_search.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), dtype=np.uint8)
LABELS = np.arange(12) % 2


class Photos(Dataset[Any]):
    """A map-style set that counts how often each item is read."""

    classes = ("cup", "dog")

    def __init__(self, count: int = 12):
        self.read = [0] * count

    def __len__(self) -> int:
        return len(self.read)

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        self.read[number] += 1
        return Image.fromarray(IMAGES[number]), number % 2


def opened(manifest: Path) -> Domain:
    return open_domain(DomainConfig(manifest=manifest), manifest.parent)


def classes_of(domain: Domain) -> list[str]:
    return [domain.class_of(row) for row in range(len(domain))]


@pytest.mark.parametrize(
    "data",
    [
        (IMAGES, LABELS),
        (IMAGES.transpose(0, 3, 1, 2), LABELS.tolist()),
        (torch.from_numpy(IMAGES), torch.from_numpy(LABELS)),
        ([Image.fromarray(image) for image in IMAGES], pd.Series(LABELS, index=range(5, 17))),
        TensorDataset(torch.from_numpy(IMAGES).permute(0, 3, 1, 2), torch.from_numpy(LABELS)),
    ],
)
def test_images_and_labels_of_any_kind_are_one_domain(tmp_path: Path, data: Any) -> None:
    manifest = write_domain(data, tmp_path / "phone", class_names=["cup", "dog"])
    assert manifest == tmp_path / "phone" / "phone.csv"
    domain = opened(manifest)
    assert domain.name == "phone"
    assert classes_of(domain) == ["cup", "dog"] * 6
    assert np.array_equal(domain.decode(3, 6), IMAGES[3].transpose(2, 0, 1))
    first = opened(write_domain((IMAGES, LABELS), tmp_path / "b", class_names=["cup", "dog"]))
    assert domain.fingerprint() == first.fingerprint()


def test_rows_of_a_shuffled_table_keep_their_labels(tmp_path: Path) -> None:
    table = pd.DataFrame({"image": list(IMAGES[:3]), "label": ["a", "b", "c"]}).iloc[[2, 0, 1]]
    domain = opened(write_domain((table["image"], table["label"]), tmp_path / "a"))
    assert classes_of(domain) == ["c", "a", "b"]
    assert np.array_equal(domain.decode(0, 6), IMAGES[2].transpose(2, 0, 1))


def test_the_order_and_the_folder_do_not_change_the_splits(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(12)
    seen = []
    for name, rows in ("one", np.arange(12)), ("two", order):
        domain = opened(write_domain((IMAGES[rows], LABELS[rows]), tmp_path / name))
        parts = split_domain(domain, SplitsConfig())
        seen.append({split: domain.split_hash(rows) for split, rows in parts.items()})
    assert seen[0] == seen[1]


def test_a_torch_set_gives_its_classes_and_each_item_is_read_once(tmp_path: Path) -> None:
    photos = Photos()
    manifest = write_domain(photos, tmp_path / "photos")
    assert opened(manifest).class_names == ("cup", "dog")
    assert photos.read == [1] * 12
    part = write_domain(Subset(photos, [0, 1, 2]), tmp_path / "part")
    assert classes_of(opened(part)) == ["cup", "dog", "cup"]


def test_one_item_is_held_at_a_time(tmp_path: Path) -> None:
    alive: list[int] = []

    class Large(Photos):
        def __getitem__(self, number: int) -> tuple[Any, int]:
            # What was read before is on the disk by now.
            alive.append(len(list(tmp_path.glob(".large.*/large/images/*"))))
            return super().__getitem__(number)

    write_domain(Large(), tmp_path / "large")
    assert alive == list(range(12))


def test_splits_are_kept(tmp_path: Path) -> None:
    parts = {"train": Photos(6), "validation": (IMAGES[6:9], ["cup", "dog", "cup"]),
             "test": (IMAGES[9:], ["dog", "cup", "dog"])}  # fmt: skip
    domain = opened(write_domain(parts, tmp_path / "a"))
    assert domain.splits == ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    assert classes_of(domain)[-3:] == ["dog", "cup", "dog"]


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ([0, 1, None, float("nan")], None, ["0", "1", "", ""]),
        (pd.Series([0, None, 1, 1], dtype="Int64"), None, ["0", "", "1", "1"]),
        (np.array([0, 1, np.nan, 1]), None, ["0", "1", "", "1"]),
        (np.ma.array([0, 1, 1, 1], mask=[False, False, True, False]), None, ["0", "1", "", "1"]),
        ([0, -1, 1, 1], ["a", "b"], ["a", "", "b", "b"]),
        (["x, y", 'say "z"', None, "猫"], None, ["x, y", 'say "z"', "", "猫"]),
        ([" cafe\u0301", "one\ntwo", "b", "b"], None, ["caf\u00e9", "one two", "b", "b"]),
        (np.array(["x", "y", "y", "x"]), None, ["x", "y", "y", "x"]),
    ],
)
def test_labels_are_numbers_or_text_and_may_be_missing(
    tmp_path: Path, labels: Any, names: list[str] | None, expected: list[str]
) -> None:
    manifest = write_domain((IMAGES[:4], labels), tmp_path / "a", class_names=names)
    assert classes_of(opened(manifest)) == expected


@pytest.mark.parametrize("data", [IMAGES, (IMAGES, [None] * 12), list(IMAGES)])
def test_without_labels_it_is_a_target_without_labels(tmp_path: Path, data: Any) -> None:
    config = DomainConfig(manifest=write_domain(data, tmp_path / "phone"))
    assert not target_has_labels(config, tmp_path)
    assert len(open_domain(config, tmp_path, labelled=False)) == 12


class Broken(Photos):
    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        if number == 7:
            raise OSError("truncated")
        return super().__getitem__(number)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(Photos())


@pytest.mark.parametrize(
    ("data", "names", "message"),
    [
        ((IMAGES, LABELS[:-1]), None, "12 images and 11 labels"),
        ({"train": (IMAGES, LABELS), "test": (IMAGES, [])}, None, "12 images of the test split and "
         "0 labels"),
        ((IMAGES, [0, 1.5, *[0] * 10]), None, "item 1: expected a class number or text as label, "
         "got 1.5"),
        ((IMAGES, np.eye(12)), None, r"item 0: .*as label, got shape \(12,\)"),
        ((IMAGES, LABELS == 1), None, "item 0: expected a class number or text as label, got Fals"),
        ((IMAGES, LABELS - 1), None, "item 0: class numbers are at least 0, got -1; give None"),
        ((IMAGES, LABELS), ["a"], "item 1: class numbers are from 0 to 0, got 1"),
        ((IMAGES, ["cup"] * 12), ["cap", "dog"], "item 0: unknown class 'cup'; did you mean 'cap'"),
        ((IMAGES, [" "] * 12), None, "item 0: its label is empty; give None"),
        ((IMAGES, LABELS), ["a", " a"], "class names must differ"),
        ((IMAGES / 255, LABELS), None, "item 0: expected values of uint8 .*got float64"),
        ((IMAGES, None), None, "expected a list of labels, got NoneType; a tuple is a pair"),
        ((IMAGES, LABELS, LABELS), None, "expected images, a pair .*got a tuple of 3"),
        ([(IMAGES[0], 1, 2)], None, r"item 0: expected an image or \(image, label\), got a tup"),
        ([{"image": 1}], None, "item 0: expected a Pillow image, an array or a tensor, got dict"),
        (Broken(), None, "item 7: cannot be read: OSError: truncated"),
        (Stream(), None, "got Stream; a stream has neither length nor numbers: make a list of it"),
        ("photos", None, "expected images, .*got str"),
        (7, None, "expected images, .*got int$"),
        ([], None, "no images"),
        ({"train": Photos(), "validation": Photos()}, None, "no test split, got train, validation"),
        ({}, None, "no test and no train split, got none"),
        ({"train": Photos(), "tost": Photos()}, None, "unknown split 'tost'; did you mean 'test'"),
        ({"train": Photos(), "test": Broken()}, None, "test item 7: cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_domain_is_refused_and_leaves_nothing(
    tmp_path: Path, data: Any, names: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_domain(data, tmp_path / "phone", class_names=names)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_and_a_kill_no_domain(tmp_path: Path) -> None:
    class Interrupted(Photos):
        def __getitem__(self, number: int) -> tuple[Image.Image, int]:
            if number == 5:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    with pytest.raises(KeyboardInterrupt):
        write_domain(Interrupted(), tmp_path / "phone")
    assert list(tmp_path.iterdir()) == []
    if (pid := os.fork()) == 0:  # killed with an image written

        class Killed(Photos):
            def __getitem__(self, number: int) -> tuple[Image.Image, int]:
                if number == 5:
                    os._exit(9)
                return super().__getitem__(number)

        try:
            write_domain(Killed(), tmp_path / "phone")
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    assert not (tmp_path / "phone").exists()
    assert len(opened(write_domain(Photos(), tmp_path / "phone"))) == 12


def test_the_same_again_is_kept(tmp_path: Path) -> None:
    manifest = write_domain(Photos(), tmp_path / "phone")
    before = {file: file.stat().st_mtime_ns for file in manifest.parent.rglob("*")}
    assert write_domain(Photos(), tmp_path / "phone") == manifest
    assert {file: file.stat().st_mtime_ns for file in manifest.parent.rglob("*")} == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((IMAGES[::-1], LABELS), "holds other images or labels than these, first at item 0"),
        ((IMAGES, 1 - LABELS), "first at item 0"),
        ((IMAGES[:9], LABELS[:9]), "holds 12 images, and these are 9"),
        ((IMAGES[[*range(12), 0]], [*LABELS, 0]), "first at item 12"),
        (IMAGES, "first at item 0"),
    ],
)
def test_another_domain_is_not_written_over(tmp_path: Path, data: Any, message: str) -> None:
    manifest = write_domain((IMAGES, LABELS), tmp_path / "phone")
    content = manifest.read_text()
    with pytest.raises(InputError, match=message + r".*remove .*phone, or give another folder"):
        write_domain(data, tmp_path / "phone")
    assert manifest.read_text() == content


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no written domain; give another folder"):
        write_domain(Photos(), tmp_path)
    manifest = write_domain(Photos(), tmp_path / "phone")
    next((tmp_path / "phone" / "images").iterdir()).unlink()
    with pytest.raises(InputError, match="is missing; remove"):
        write_domain(Photos(), tmp_path / "phone")
    assert manifest.is_file()


def test_a_folder_is_the_one_that_its_dots_lead_to(tmp_path: Path) -> None:
    manifest = write_domain(Photos(), tmp_path / "other" / ".." / "phone" / "new" / "..")
    assert manifest == tmp_path / "phone" / "phone.csv"
    assert len(opened(manifest)) == 12


def test_two_processes_that_write_the_same_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_domain(Photos(), tmp_path / "other" / "phone").parent
    move = writing._move

    def late(new: Path, folder: Path, manifest: Path) -> None:
        shutil.copytree(other, folder, dirs_exist_ok=True)
        move(new, folder, manifest)

    monkeypatch.setattr(writing, "_move", late)
    assert len(opened(write_domain(Photos(), tmp_path / "phone"))) == 12
    with pytest.raises(InputError, match="another process wrote there"):
        shutil.rmtree(tmp_path / "phone")
        write_domain((IMAGES, LABELS), tmp_path / "phone")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/phone: cannot be written"):
        write_domain(Photos(), tmp_path / "file" / "phone")


def test_it_is_public() -> None:
    assert dann_search.write_domain is write_domain
