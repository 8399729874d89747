"""The packed store: what it holds, and what it must not."""

import errno
import json
import os
import struct
import tarfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dann_search.config.data import DataConfig
from dann_search.data.domain import SPLITS
from dann_search.data.folder import load_folder_domain
from dann_search.data.node_store import store_here, store_of
from dann_search.data.store import open_groups, open_images, open_labels, pack, read_info
from dann_search.data.training_data import open_training_data
from dann_search.errors import InputError
from dann_search.storage.layout import ExperimentFolder
from tests.data.images import config_of, noise, write_domain

CLASSES = {"bike": 10, "mug": 10}
SIDE = 12
REAL_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "office_caltech_10.tar"


def amazon_to_webcam(root: Path) -> DataConfig:
    return config_of(root / "amazon", folder=root / "webcam")


def write_splits(root: Path, splits: dict[str, dict[str, int]]) -> DataConfig:
    """A source without splits and a target with these, and so many images a class."""
    write_domain(root / "amazon", CLASSES, seed=1)
    for seed, (split, classes) in enumerate(splits.items(), start=2):
        write_domain(root / "webcam" / split, classes, seed=seed)
    return amazon_to_webcam(root)


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    write_domain(tmp_path / "amazon", CLASSES, seed=1)
    write_domain(tmp_path / "webcam", CLASSES, seed=2)
    return amazon_to_webcam(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_store_holds_all_images_and_no_label_of_target_training_images(
    config: DataConfig, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    info = pack(config, SIDE, store)
    assert info.class_names == ["bike", "mug"]
    assert info.sizes["source"] == {"train": 16, "val": 4, "test": 0}
    assert info.sizes["target"] == {"train": 12, "val": 4, "test": 4}
    assert {file.name for file in store.glob("*labels*")} == {
        f"{part}.labels.npy"
        for part in ("source.train", "source.val", "source.test", "target.val", "target.test")
    }
    for role, name in ("source", "amazon"), ("target", "webcam"):
        domain = load_folder_domain(tmp_path / name)
        label_of = {
            domain.decode(row, SIDE).tobytes(): int(domain.labels[row])
            for row in range(len(domain))
        }
        images = {split: open_images(store, role, split) for split in SPLITS}
        packed = [image.tobytes() for split in SPLITS for image in images[split]]
        assert sorted(packed) == sorted(label_of)
        for split in SPLITS if role == "source" else ("val", "test"):
            labels = [label_of[image.tobytes()] for image in images[split]]
            assert labels == list(open_labels(store, role, split))
        assert open_groups(store, role, "test") is None


def test_training_data_never_opens_the_test_split(config: DataConfig, tmp_path: Path) -> None:
    pack(config, SIDE, tmp_path / "store")
    for file in (tmp_path / "store").glob("*.test.*"):
        file.unlink()
    data = open_training_data(tmp_path / "store")
    assert data.classes == 2
    assert data.source_images.shape == (16, 3, SIDE, SIDE)
    assert data.target_images.shape == (12, 3, SIDE, SIDE)
    assert data.val_labels is not None
    assert len(data.val_images) == len(data.val_labels) == 4
    assert not hasattr(data, "target_labels")


def test_a_store_knows_which_measured_images_show_the_same(tmp_path: Path) -> None:
    config = write_splits(tmp_path, {"train": CLASSES, "test": CLASSES})
    mug = tmp_path / "webcam" / "test" / "mug"
    (mug / "copy.jpg").write_bytes((mug / "000.jpg").read_bytes())
    pack(config, SIDE, tmp_path / "store")
    groups = open_groups(tmp_path / "store", "target", "test")
    assert groups is not None
    assert sorted(np.bincount(groups)) == [1] * 19 + [2]
    images = open_images(tmp_path / "store", "target", "test")
    first, second = np.flatnonzero(groups == np.bincount(groups).argmax())
    assert (images[first] == images[second]).all()


def test_packing_twice_decodes_once(config: DataConfig, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = pack(config, SIDE, tmp_path / "store", lambda done, of: told.append((done, of)))
    # Progress counts every image of both domains.
    assert sorted(told) == [(done, 40) for done in range(1, 41)]
    told.clear()
    before = content(tmp_path / "store")
    again = pack(config, SIDE, tmp_path / "store", lambda done, of: told.append((done, of)))
    assert again == first == read_info(tmp_path / "store")
    assert content(tmp_path / "store") == before
    assert told == []
    pack(config, SIDE, tmp_path / "other")
    assert content(tmp_path / "other") == before


def test_a_store_of_an_earlier_preparation_is_made_anew(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(config, SIDE, tmp_path / "store")
    monkeypatch.setattr("dann_search.data.store.VERSION", first.pixels + 1)
    decoded: list[int] = []
    again = pack(config, SIDE, tmp_path / "store", lambda done, of: decoded.append(done))
    assert (len(decoded), again.pixels, again.hashes) == (40, first.pixels + 1, first.hashes)


def test_a_node_packs_a_store_of_its_own_for_each_preparation(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    info = pack(config, SIDE, tmp_path / "store")
    elsewhere = ExperimentFolder(tmp_path / "elsewhere")
    sized = config.model_copy(update={"image_size": SIDE})
    smaller = sized.model_copy(update={"crop_size": SIDE - 4})
    places = {store_here(store_of(elsewhere, data, info)) for data in (config, sized, smaller)}
    assert len(places) == 3
    seen = {read_info(place).side_seen(SIDE + 9) for place in places}
    assert seen == {SIDE + 9, SIDE, SIDE - 4}
    # What another version began is not continued on other pixels; the first can be repeated.
    first = store_here(store_of(elsewhere, config, replace(info, pixels=1)))
    assert first not in places and read_info(first).transparency == "ignored"
    earlier = replace(store_of(elsewhere, config, info), pixels=0)
    with pytest.raises(InputError, match=r"prepared by version 0, this .* version 2; copy"):
        store_here(earlier)
    kept = replace(earlier, place=str(tmp_path / "store"))
    content_of = json.loads((tmp_path / "store" / "store.json").read_text())
    (tmp_path / "store" / "store.json").write_text(json.dumps({**content_of, "pixels": 0}))
    assert store_here(kept) == tmp_path / "store"


def test_images_of_few_bits_in_files_of_many_are_told_of(
    config: DataConfig, tmp_path: Path
) -> None:
    for number, most in enumerate((255, 4095, 65535)):
        values = np.linspace(0, most, 400).reshape(20, 20).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "webcam" / "mug" / f"{number}-deep.png")
    remarks = pack(config, SIDE, tmp_path / "store").remarks
    (told,) = (remark for remark in remarks if "black" in remark)
    assert "webcam: 2 images are black, or nearly" in told and "-deep.png; 16-bit files" in told


def test_networks_see_the_centre_of_what_is_stored(config: DataConfig, tmp_path: Path) -> None:
    sides = {"image_size": SIDE, "crop_size": SIDE - 4}
    info = pack(config.model_copy(update=sides), SIDE, tmp_path / "store")
    assert (info.image_size, info.side_seen(224)) == (SIDE, SIDE - 4)
    data = open_training_data(tmp_path / "store")
    stored = torch.from_numpy(open_images(tmp_path / "store", "target", "val").copy())
    assert torch.equal(data.val_images, stored[:, :, 2:-2, 2:-2])
    assert data.source_images.shape[-1] == data.target_images.shape[-1] == SIDE


@pytest.mark.parametrize(
    ("stated", "source"),
    [
        ({"splits": {"train": 0.5, "val": 0.1, "test": 0.4}}, {"train": 18, "val": 2, "test": 0}),
        ({"source_splits": {"train": 0.9, "val": 0.1}}, {"train": 18, "val": 2, "test": 0}),
        ({"source_splits": {"train": 0.8, "val": 0.1, "test": 0.1}},
         {"train": 16, "val": 2, "test": 2}),
        # As records of before hold it: divided as the target.
        ({"source_splits": None}, {"train": 12, "val": 4, "test": 4}),
    ],
)  # fmt: skip
def test_all_of_the_source_but_its_val_share_is_trained_on_unless_stated_otherwise(
    config: DataConfig, tmp_path: Path, stated: dict[str, Any], source: dict[str, int]
) -> None:
    content = config.model_dump(mode="json", exclude={"source_splits"})
    changed = DataConfig.model_validate(content | stated)
    assert DataConfig.model_validate(changed.model_dump(mode="json")) == changed
    assert pack(changed, SIDE, tmp_path / "store").sizes["source"] == source


def test_processes_that_start_at_once_decode_once(config: DataConfig, tmp_path: Path) -> None:
    # Forked with everything imported: three imports would cost more than all the rest.
    with ProcessPoolExecutor(3, get_context("fork")) as pool:
        store = tmp_path / "store"
        counts = list(pool.map(decoded_by_packing, [config] * 3, [store] * 3))
    assert sorted(counts) == [0, 0, 40]
    assert len(open_training_data(tmp_path / "store").source_images) == 16


def decoded_by_packing(config: DataConfig, store: Path) -> int:
    told: list[int] = []
    pack(config, SIDE, store, lambda done, of: told.append(done))
    return len(told)


def test_a_store_made_for_another_request_is_made_anew(config: DataConfig, tmp_path: Path) -> None:
    first = pack(config, SIDE, tmp_path / "store")
    assert pack(config, SIDE + 4, tmp_path / "store").image_size == SIDE + 4
    splits = config.splits.model_copy(update={"seed": 1})
    again = pack(config.model_copy(update={"splits": splits}), SIDE, tmp_path / "store")
    assert again.hashes != first.hashes
    assert open_images(tmp_path / "store", "source", "train").shape == (16, 3, SIDE, SIDE)


def test_an_unfinished_store_is_made_anew(config: DataConfig, tmp_path: Path) -> None:
    pack(config, SIDE, tmp_path / "store")
    before = content(tmp_path / "store")
    (tmp_path / "store" / "store.json").unlink()
    (tmp_path / "store" / "source.train.images.npy").write_bytes(b"cut off")
    pack(config, SIDE, tmp_path / "store")
    assert content(tmp_path / "store") == before


def test_a_hash_changes_with_the_content_of_its_domain_and_with_no_name(
    config: DataConfig, tmp_path: Path
) -> None:
    before = pack(config, SIDE, tmp_path / "store").hashes
    for file in sorted((tmp_path / "amazon" / "mug").iterdir()):
        file.rename(file.with_name(f"{999 - int(file.stem)}.jpg"))
    assert pack(config, SIDE, tmp_path / "renamed").hashes == before
    noise(77).save(tmp_path / "webcam" / "mug" / "000.jpg")
    # A store of changed images is made anew in its place.
    after = pack(config, SIDE, tmp_path / "store").hashes
    assert after["source"] == before["source"]
    assert after["target"] != before["target"]


def test_contents_of_both_domains_are_counted(config: DataConfig, tmp_path: Path) -> None:
    image = (tmp_path / "amazon" / "mug" / "000.jpg").read_bytes()
    (tmp_path / "webcam" / "mug" / "same.jpg").write_bytes(image)
    assert pack(config, SIDE, tmp_path / "store").duplicates == 1


def test_unequal_classes_are_refused_by_name(config: DataConfig, tmp_path: Path) -> None:
    write_domain(tmp_path / "amazon", {"pen": 5}, seed=3)
    with pytest.raises(InputError, match=r"domain webcam lacks 1 class .*: pen"):
        pack(config, SIDE, tmp_path / "store")


def damage(root: Path) -> list[Path]:
    """Every kind of unreadable file, in the classes of a domain."""
    whole = (root / "mug" / "001.jpg").read_bytes()
    damaged = {
        "truncated.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "text.png": b"no image",
    }
    for name, content in damaged.items():
        (root / "mug" / name).write_bytes(content)
    Image.fromarray(np.zeros((9, 9), dtype=np.float32)).save(root / "bike" / "float.tif")
    (root / "bike" / "bomb.png").write_bytes(png_header(40_000, 40_000))
    return [root / "mug" / name for name in damaged] + [
        root / "bike" / "float.tif",
        root / "bike" / "bomb.png",
    ]


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + checked


def test_all_unreadable_images_are_named_in_one_message(config: DataConfig, tmp_path: Path) -> None:
    files = damage(tmp_path / "webcam")
    with pytest.raises(InputError) as caught:
        pack(config, SIDE, tmp_path / "store")
    said = str(caught.value)
    assert said.startswith("5 of 45 images cannot be read:")
    assert all(str(file) in said for file in files)
    assert "mug/text.png: no kind of image" in said
    assert said.endswith("data.unreadable: skip")
    assert not (tmp_path / "store" / "store.json").exists()


def test_unreadable_images_are_left_out_where_that_is_asked_for_and_told(
    config: DataConfig, tmp_path: Path
) -> None:
    clean = pack(config, SIDE, tmp_path / "clean")
    files = damage(tmp_path / "webcam")
    info = pack(config.model_copy(update={"unreadable": "skip"}), SIDE, tmp_path / "store")
    assert (info.hashes, info.sizes) == (clean.hashes, clean.sizes)
    for role, split in ("target", "train"), ("target", "test"):
        mine, others = (open_images(tmp_path / s, role, split) for s in ("store", "clean"))
        assert sorted(x.tobytes() for x in mine) == sorted(x.tobytes() for x in others)
    [remark] = info.remarks
    assert remark.startswith("5 of 45 images could not be read and were skipped:")
    listed = (tmp_path / "store" / "unreadable.txt").read_text()
    assert all(str(file) in remark and str(file) in listed for file in files)


def test_a_store_beyond_the_limit_is_refused_before_decoding(
    config: DataConfig, tmp_path: Path
) -> None:
    told: list[int] = []
    small = config.model_copy(update={"store_limit_gib": 1e-5})
    with pytest.raises(
        InputError, match=r"40 images of 12 x 12 pixels .*data.store_limit_gib is 1e-05"
    ):
        pack(small, SIDE, tmp_path / "store", lambda done, of: told.append(done))
    assert told == []


def test_images_in_two_splits_that_a_user_gave_are_told(tmp_path: Path) -> None:
    config = write_splits(tmp_path, {split: {"bike": 3, "mug": 3} for split in SPLITS})
    copied = tmp_path / "webcam" / "test" / "mug" / "copy.jpg"
    copied.write_bytes((tmp_path / "webcam" / "train" / "mug" / "000.jpg").read_bytes())
    info = pack(config, SIDE, tmp_path / "store")
    assert info.sizes["target"] == {"train": 6, "val": 6, "test": 7}
    assert info.remarks == [
        f"webcam: 1 image is in both its train and its test split, such as {copied}"
    ]


def test_an_unlabelled_target_is_trained_on(config: DataConfig, tmp_path: Path) -> None:
    more = write_domain(tmp_path / "more", {"anything": 7}, seed=3)
    target = config.target.model_copy(update={"unlabelled": more})
    info = pack(config.model_copy(update={"target": target}), SIDE, tmp_path / "store")
    assert info.sizes["target"] == {"train": 12 + 7, "val": 4, "test": 4}
    assert info.class_names == ["bike", "mug"]
    assert len(open_training_data(tmp_path / "store").target_images) == 19


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": CLASSES, "test": {"bike": 3}},
         r"no image of class 'mug' in its test \(1 of 2 classes have none\); add some there, take "
         "the class out .* or give the classes without splits"),
        ({"train": CLASSES, "val": {"mug": 3}, "test": CLASSES},
         "no image of class 'bike' in its val"),
    ],
)  # fmt: skip
def test_a_target_class_that_cannot_be_measured_is_refused(
    tmp_path: Path, splits: dict[str, dict[str, int]], message: str
) -> None:
    config = write_splits(tmp_path, splits)
    with pytest.raises(InputError, match=f"domain webcam: {message}"):
        pack(config, SIDE, tmp_path / "store")


@pytest.mark.skipif(not REAL_IMAGES.exists(), reason=f"real images are absent: {REAL_IMAGES}")
def test_real_photographs_are_packed(tmp_path: Path) -> None:
    """Office-Caltech-10: JPEGs of many sizes, some of them grey."""
    wanted = {"backpack", "bike", "mouse"}
    with tarfile.open(REAL_IMAGES) as tar:
        members = [
            member
            for member in tar
            if member.isfile() and member.name.split("/")[1] in ("amazon", "dslr")
            and member.name.split("/")[2] in wanted and member.name.endswith(("1.jpg", "2.jpg"))
        ]  # fmt: skip
        tar.extractall(tmp_path, members, filter="data")
    root = tmp_path / "office_caltech_10"
    info = pack(config_of(root / "amazon", folder=root / "dslr"), 48, tmp_path / "store")
    assert set(info.class_names) == wanted
    files = sum(1 for _ in root.rglob("*.jpg"))
    assert sum(sum(splits.values()) for splits in info.sizes.values()) == files
    images = open_images(tmp_path / "store", "source", "train")
    assert images.shape[1:] == (3, 48, 48)
    # Photographs, not blanks: every one has contrast.
    assert np.asarray(images).reshape(len(images), -1).std(axis=1).min() > 5


def test_a_disk_that_fills_while_packing_is_told_with_the_file(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(InputError, match=r"source\.train\.images\.npy: No space left .*--storage"):
        pack(config, SIDE, tmp_path / "store")
