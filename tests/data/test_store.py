"""The packed store: what it holds, and what it must not."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from dann_search.config.experiment import DataConfig, DomainConfig
from dann_search.data.folder import load_folder_domain
from dann_search.data.store import open_images, open_labels, pack, read_info
from dann_search.data.training_data import open_training_data
from dann_search.errors import InputError
from tests.data.images import noise, write_domain

CLASSES = {"bike": 10, "mug": 10}
SIDE = 12
REAL_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "office_caltech_10.tar"


def config_of(tmp_path: Path) -> DataConfig:
    return DataConfig(
        source=DomainConfig(folder=tmp_path / "amazon"),
        target=DomainConfig(folder=tmp_path / "webcam"),
    )


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    write_domain(tmp_path / "amazon", CLASSES, seed=1)
    write_domain(tmp_path / "webcam", CLASSES, seed=2)
    return config_of(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_store_holds_every_image_once_as_its_domain_decodes_it(
    config: DataConfig, tmp_path: Path
) -> None:
    info = pack(config, SIDE, tmp_path / "store")
    assert info.class_names == ["bike", "mug"]
    assert info.sizes == {role: {"train": 12, "val": 4, "test": 4} for role in ("source", "target")}
    domain = load_folder_domain(tmp_path / "amazon")
    decoded = sorted(domain.decode(index, SIDE).tobytes() for index in range(len(domain)))
    packed = [
        image.tobytes()
        for split in ("train", "val", "test")
        for image in open_images(tmp_path / "store", "source", split)
    ]
    assert sorted(packed) == decoded


def test_labels_stand_in_the_order_of_the_images(config: DataConfig, tmp_path: Path) -> None:
    pack(config, SIDE, tmp_path / "store")
    domain = load_folder_domain(tmp_path / "webcam")
    label_of = {
        domain.decode(index, SIDE).tobytes(): int(domain.labels[index])
        for index in range(len(domain))
    }
    for split in ("val", "test"):
        images = open_images(tmp_path / "store", "target", split)
        labels = open_labels(tmp_path / "store", "target", split)
        assert [label_of[image.tobytes()] for image in images] == list(labels)


def test_labels_of_target_training_images_are_written_nowhere(
    config: DataConfig, tmp_path: Path
) -> None:
    pack(config, SIDE, tmp_path / "store")
    names = {file.name for file in (tmp_path / "store").iterdir()}
    assert "target.train.images.npy" in names
    assert {name for name in names if "labels" in name} == {
        f"{part}.labels.npy"
        for part in ("source.train", "source.val", "source.test", "target.val", "target.test")
    }
    assert not hasattr(open_training_data(tmp_path / "store"), "target_labels")


def test_packing_twice_changes_nothing_and_needs_no_images(
    config: DataConfig, tmp_path: Path
) -> None:
    first = pack(config, SIDE, tmp_path / "store")
    before = content(tmp_path / "store")
    for file in (tmp_path / "amazon").rglob("*.jpg"):
        file.unlink()
    assert pack(config, SIDE, tmp_path / "store") == first == read_info(tmp_path / "store")
    assert content(tmp_path / "store") == before


def test_two_packings_of_the_same_images_are_identical(config: DataConfig, tmp_path: Path) -> None:
    pack(config, SIDE, tmp_path / "one")
    pack(config, SIDE, tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_store_made_for_another_request_is_made_anew(config: DataConfig, tmp_path: Path) -> None:
    first = pack(config, SIDE, tmp_path / "store")
    assert pack(config, SIDE + 4, tmp_path / "store").image_size == SIDE + 4
    splits = config.splits.model_copy(update={"seed": 1})
    again = pack(config.model_copy(update={"splits": splits}), SIDE, tmp_path / "store")
    assert again.hashes != first.hashes
    assert open_images(tmp_path / "store", "source", "train").shape == (12, 3, SIDE, SIDE)


def test_an_unfinished_store_is_made_anew(config: DataConfig, tmp_path: Path) -> None:
    pack(config, SIDE, tmp_path / "store")
    before = content(tmp_path / "store")
    (tmp_path / "store" / "store.json").unlink()
    (tmp_path / "store" / "source.train.images.npy").write_bytes(b"cut off")
    pack(config, SIDE, tmp_path / "store")
    assert content(tmp_path / "store") == before


def test_a_hash_changes_with_content_and_with_label_of_its_split_alone(
    config: DataConfig, tmp_path: Path
) -> None:
    before = pack(config, SIDE, tmp_path / "one").hashes
    noise(77).save(tmp_path / "webcam" / "mug" / "000.jpg")
    after = pack(config, SIDE, tmp_path / "two").hashes
    assert after["source"] == before["source"]
    assert after["target"] != before["target"]


def test_renaming_files_changes_no_hash(config: DataConfig, tmp_path: Path) -> None:
    before = pack(config, SIDE, tmp_path / "one").hashes
    for file in sorted((tmp_path / "amazon" / "mug").iterdir()):
        file.rename(file.with_name(f"{999 - int(file.stem)}.jpg"))
    assert pack(config, SIDE, tmp_path / "two").hashes == before


def test_contents_of_both_domains_are_counted(config: DataConfig, tmp_path: Path) -> None:
    image = (tmp_path / "amazon" / "mug" / "000.jpg").read_bytes()
    (tmp_path / "webcam" / "mug" / "same.jpg").write_bytes(image)
    assert pack(config, SIDE, tmp_path / "store").duplicates == 1


def test_unequal_classes_are_refused_by_name(config: DataConfig, tmp_path: Path) -> None:
    write_domain(tmp_path / "amazon", {"pen": 5}, seed=3)
    with pytest.raises(InputError, match=r"domain webcam lacks 1 classes .*: pen"):
        pack(config, SIDE, tmp_path / "store")


def test_a_damaged_image_is_named_and_leaves_no_store(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "webcam" / "mug" / "003.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"mug/003\.jpg: not a readable image"):
        pack(config, SIDE, tmp_path / "store")
    assert not (tmp_path / "store" / "store.json").exists()


def test_training_data_is_a_view_of_the_store(config: DataConfig, tmp_path: Path) -> None:
    pack(config, SIDE, tmp_path / "store")
    data = open_training_data(tmp_path / "store")
    assert data.classes == 2
    assert data.source_images.shape == data.target_images.shape == (12, 3, SIDE, SIDE)
    assert len(data.val_images) == len(data.val_labels) == 4


def test_training_data_never_opens_the_test_split(config: DataConfig, tmp_path: Path) -> None:
    pack(config, SIDE, tmp_path / "store")
    for file in (tmp_path / "store").glob("*.test.*"):
        file.unlink()
    open_training_data(tmp_path / "store")


@pytest.mark.skipif(not REAL_IMAGES.exists(), reason=f"real images are absent: {REAL_IMAGES}")
def test_real_photographs_are_packed(tmp_path: Path) -> None:
    """Office-Caltech-10: JPEGs of many sizes, some of them grey."""
    wanted = {"backpack", "bike", "mouse"}
    with tarfile.open(REAL_IMAGES) as tar:
        members = [
            member
            for member in tar
            if member.isfile() and member.name.split("/")[1] in ("amazon", "dslr")
            and member.name.split("/")[2] in wanted
        ]  # fmt: skip
        tar.extractall(tmp_path, members, filter="data")
    root = tmp_path / "office_caltech_10"
    config = DataConfig(
        source=DomainConfig(folder=root / "amazon"), target=DomainConfig(folder=root / "dslr")
    )
    info = pack(config, 48, tmp_path / "store")
    assert set(info.class_names) == wanted
    files = sum(1 for _ in root.rglob("*.jpg"))
    assert sum(sum(splits.values()) for splits in info.sizes.values()) == files
    images = open_images(tmp_path / "store", "source", "train")
    assert images.shape[1:] == (3, 48, 48)
    # Photographs, not blanks: every one has contrast.
    assert np.asarray(images).reshape(len(images), -1).std(axis=1).min() > 5
