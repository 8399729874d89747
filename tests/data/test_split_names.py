"""Splits under the names that people give them, and folders that look like classes and are not."""

from pathlib import Path

import fsspec
import pytest

from dann_search.data.domain import SPLITS
from dann_search.data.folder import load_folder_domain
from dann_search.data.remote import local_copy
from dann_search.data.split_names import MEANINGS
from dann_search.errors import InputError
from dann_search.evaluation.evaluation_set import labelled_images
from dann_search.inference.image_files import image_files
from tests.data.images import noise, write_domain

CLASSES = {"bar": 2, "cup": 1}


def layout(root: Path, *folders: str, classes: dict[str, int] | None = None) -> Path:
    for number, folder in enumerate(folders):
        write_domain(root / folder, classes or CLASSES, seed=number)
    return root


def splits_of(root: Path) -> dict[str, int]:
    """Number of images in each split."""
    domain = load_folder_domain(root)
    assert domain.class_names == tuple(CLASSES)
    assert domain.splits is not None
    return {split: list(domain.splits).count(split) for split in sorted(set(domain.splits))}


@pytest.mark.parametrize(
    "names",
    [("Training", "Test"), ("training", "testing"), ("train", "Test"), ("TRAIN", "TEST"),
     ("Train", "Testing"), ("train_set", "TestData"), ("trn", "tst"), ("Train images", "test-set")],
)  # fmt: skip
def test_two_folders_named_as_splits_in_any_way_are_splits(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    assert splits_of(layout(tmp_path / "src", *names)) == {"test": 3, "train": 3}


@pytest.mark.parametrize("val", ["val", "Val", "valid", "VALIDATION", "dev"])
def test_the_validation_split_has_several_names(tmp_path: Path, val: str) -> None:
    root = layout(tmp_path / "src", "train", val, "test")
    assert splits_of(root) == {"test": 3, "train": 3, "val": 3}


def test_what_was_read_as_which_split_is_told_unless_it_is_plain(tmp_path: Path) -> None:
    root = layout(tmp_path / "src", "Training", "valid", "test")
    [remark] = load_folder_domain(root).remarks
    assert remark == f"{root}: read as splits: Training as train, test as test, valid as val"
    assert load_folder_domain(layout(tmp_path / "plain", *SPLITS)).remarks == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train", "eval"), "the split 'eval' may be val or test; rename it"),
        (("train", "test", "Evaluation"), "the split 'Evaluation' may be val or test; rename it"),
        (("train", "dev"), "holds the splits dev, train but no test; add or rename a folder: "
         "rename dev to test (a val is then drawn from train), or give one of them alone"),
        (("Val", "Test"), "holds the splits Test, Val but no train; add or rename a folder"),
        (("Training",), "holds the splits Training but no test"),
        (("train", "val", "valid", "test"), "val and valid mean the same split, val; merge"),
        (("Train", "train", "test"), "Train and train mean the same split, train; merge"),
    ],
)  # fmt: skip
def test_splits_that_do_not_add_up_are_refused(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_folder_domain(layout(tmp_path / "src", *names))
    assert str(caught.value).startswith(f"{tmp_path / 'src'}: {message}")


@pytest.mark.parametrize(
    "names", [("seg_train", "seg_test"), ("amazon", "dslr", "webcam"), ("train", "test", "labels"),
              ("day/images", "night/images")],
)  # fmt: skip
def test_folders_that_hold_folders_of_the_same_names_are_no_classes(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = layout(tmp_path / "src", *names)
    outer = ", ".join(sorted(name.split("/")[0] for name in names))
    with pytest.raises(InputError) as caught:
        load_folder_domain(root)
    assert f"its folders {outer} hold folders of the same names (bar, cup)" in str(caught.value)
    assert f"such as {root / sorted(names)[0]}" in str(caught.value)
    # Views of an object, left and right, are a reason for such folders too.
    assert "if they are classes, list their images in a manifest" in str(caught.value)


def test_splits_beside_a_flat_folder_are_no_classes_either(tmp_path: Path) -> None:
    root = layout(tmp_path / "src", "train", "test")
    (root / "unlabelled").mkdir()
    noise(1).save(root / "unlabelled" / "a.png")
    with pytest.raises(InputError, match=r"its folders test, train hold .* no other folder beside"):
        load_folder_domain(root)


@pytest.mark.parametrize("inner", ["images", "images/all"])
def test_a_folder_between_domain_and_classes_is_named(tmp_path: Path, inner: str) -> None:
    root = layout(tmp_path / "amazon", inner)
    message = f"holds one folder, images, with folders in it (bar, cup); .* name {root / inner} "
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        load_folder_domain(root)
    splits = layout(tmp_path / "webcam", f"train/{inner}", "test")
    with pytest.raises(InputError, match=f"name {splits / 'train' / inner} instead of"):
        load_folder_domain(splits)
    assert load_folder_domain(root / inner).class_names == ("bar", "cup")


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "test", "bus"), ("bus", "test", "train")),
        (("Train", "Test"), ("Test", "Train")),
        (("testing", "training"), ("testing", "training")),
        (("dev", "test"), ("dev", "test")),
        (("bike/images", "mug/images"), ("bike", "mug")),
        (("bike/left", "bike/right", "mug/left", "mug/near"), ("bike", "mug")),
        (
            ("bike/2019", "bike/2020", "bike/2021", "mug/2020", "mug/2021", "mug/2022"),
            ("bike", "mug"),
        ),
        (("train/images", "bus/images"), ("bus", "train")),
    ],
)
def test_classes_remain_classes_whatever_they_are_called(
    tmp_path: Path, folders: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    for number, folder in enumerate(folders):
        (tmp_path / "d" / folder).mkdir(parents=True)
        noise(number).save(tmp_path / "d" / folder / "a.png")
    domain = load_folder_domain(tmp_path / "d")
    assert domain.class_names == expected and domain.splits is None


@pytest.mark.parametrize("junk", ["@eaDir", "__MACOSX", ".ipynb_checkpoints", "#recycle"])
def test_folders_of_other_tools_are_neither_classes_nor_splits_nor_images(
    tmp_path: Path, junk: str
) -> None:
    root = layout(tmp_path / "src", "Train", "test")
    for folder in (root, root / "Train", root / "Train" / "bar"):
        (folder / junk).mkdir()
        noise(9).save(folder / junk / "thumbnail.jpg")
    assert splits_of(root) == {"test": 3, "train": 3}
    assert len(list(image_files([root]))) == 6


def test_a_folder_behind_a_url_is_read_by_the_same_names(tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    root = layout(tmp_path / "src", "Training", "Test")
    system.put(str(root), "/split-names/src", recursive=True)
    try:
        copy = local_copy("memory://split-names/src", tmp_path / "cache")
    finally:
        system.rm("/split-names", recursive=True)
    assert splits_of(copy) == {"test": 3, "train": 3}


@pytest.mark.parametrize("names", [("Training", "Test"), ("train", "eval"), ("TRAIN", "TESTING")])
def test_splits_are_not_evaluated_together_under_any_names(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    root = layout(tmp_path / "src", *names)
    with pytest.raises(InputError, match=rf"holds splits \(.*\), not class .*{names[1]}$"):
        labelled_images(list(CLASSES), root)


def test_every_meaning_is_a_split_in_small_letters() -> None:
    assert set(MEANINGS.values()) == set(SPLITS)
    assert all(name == name.casefold() for name in MEANINGS)


def test_a_folder_beside_the_one_with_the_classes_does_not_hide_it(tmp_path: Path) -> None:
    root = layout(tmp_path / "amazon", "images")
    (root / "annotations").mkdir()
    (root / "annotations" / "notes.txt").touch()
    with pytest.raises(InputError, match=f"name {root / 'images'} instead of {root}"):
        load_folder_domain(root)
    with pytest.raises(InputError, match=f"name {root / 'images'} instead of {root}"):
        labelled_images(list(CLASSES), root)
