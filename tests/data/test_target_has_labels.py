"""A target without labels: how it is told from one with labels, how it is divided and packed."""

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from dann_search.config.data import DataConfig, DomainConfig, SplitsConfig
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.extensions import VALIDATORS
from dann_search.config.source import SettingError
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.open_domain import open_domain, open_pair
from dann_search.data.splits import split_domain
from dann_search.data.store import labels_if_any, open_images, pack
from dann_search.data.target_has_labels import target_has_labels, with_objective
from dann_search.data.training_data import open_training_data
from dann_search.errors import InputError
from tests.data.images import config_of, noise, write_domain

SIDE = 12


def write_flat(root: Path, count: int, seed: int = 5) -> Path:
    """``root/NUMBER.jpg``, so many."""
    root.mkdir(parents=True)
    for number in range(count):
        noise(seed * 10_000 + number).save(root / f"{number:03}.jpg")
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_domain(tmp_path_factory.mktemp("data") / "source", {"bike": 10, "mug": 10}, seed=1)


def write_table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def labelled(tmp_path: Path, **target: Any) -> bool:
    return target_has_labels(DomainConfig.model_validate(target), tmp_path / "cache")


def test_a_flat_folder_and_a_table_without_labels_have_none(tmp_path: Path) -> None:
    flat = write_flat(tmp_path / "flat", 2)
    (flat / ".cache").mkdir()  # of other tools
    bare = write_table(tmp_path / "bare.csv", "path", "flat/000.jpg")
    given = write_table(tmp_path / "given.csv", "path,label", "flat/000.jpg,mug")
    assert not labelled(tmp_path, folder=flat)
    assert not labelled(tmp_path, folder=flat.as_uri())
    assert not labelled(tmp_path, manifest=bare)
    assert not labelled(tmp_path, manifest=bare.as_uri())
    assert labelled(tmp_path, manifest=given)
    assert labelled(tmp_path, manifest=given.as_uri())
    assert labelled(tmp_path, folder=write_domain(tmp_path / "classes", {"mug": 1}))
    assert labelled(tmp_path, folder=(tmp_path / "classes").as_uri())
    assert labelled(tmp_path, dataset="digits-m")
    assert labelled(tmp_path, folder=flat, labelled=True)
    assert not labelled(tmp_path, manifest=given, labelled=False)


@pytest.mark.parametrize("column", ["Labels", "lable", "class", "category"])
def test_a_column_that_may_hold_labels_is_asked_about(tmp_path: Path, column: str) -> None:
    table = write_table(tmp_path / "t.csv", f"path,{column}", "a.jpg,mug")
    for manifest in (table, table.as_uri()):
        with pytest.raises(InputError, match=rf"no column 'label', but '{column}'.*labelled: f"):
            labelled(tmp_path, manifest=manifest)


def test_it_takes_the_sources_classes_and_is_divided_by_content(
    source: Path, tmp_path: Path
) -> None:
    flat = write_flat(tmp_path / "flat", 10)
    noise(50_000).save(flat / "copy of 000.jpg")
    info = pack(config_of(source, folder=flat), SIDE, tmp_path / "store")
    assert info.class_names == ["bike", "mug"] and not info.target_labelled
    sizes = info.sizes["target"]
    assert sum(sizes.values()) == 11 and sizes["val"] >= 2 and sizes["test"] >= 2
    splits = [
        {image.tobytes() for image in open_images(tmp_path / "store", "target", split)}
        for split in sizes
    ]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 10
    # Other names, another order: the same splits.
    for file in flat.iterdir():
        file.rename(file.with_name(f"ß {file.stem[::-1]}&.JPG"))
    again = pack(config_of(source, folder=flat), SIDE, tmp_path / "again")
    assert again.hashes == info.hashes


def test_no_label_of_it_is_written_even_where_the_folders_would_say_it(
    source: Path, tmp_path: Path
) -> None:
    """The true classes lie at hand in all three; the store may hold none of them."""
    store, folder = tmp_path / "store", write_domain(tmp_path / "t", {"bike": 9, "mug": 9}, seed=2)
    # A labelled store first: what it wrote must not survive in the other.
    pack(config_of(source, folder=folder), SIDE, store)
    assert labels_if_any(store, "target", "val") is not None
    rows = [f"t/{n}/{i:03}.jpg,{n}" for n in ("bike", "mug") for i in range(9)]
    table = write_table(tmp_path / "t.csv", "path,label", *rows)
    for target in ({"folder": folder}, {"manifest": table}):
        config = config_of(source, labelled=False, **target)
        pack(config, SIDE, store)
        assert not list(store.glob("target.*.labels.npy"))
        assert open_training_data(store).val_labels is None
        opened = open_pair(config, tmp_path / "cache").target
        assert (opened.labels == NO_LABEL).all() and not opened.labelled
    digits = DomainConfig(dataset="digits-m")
    assert (open_domain(digits, tmp_path, labelled=False).labels == NO_LABEL).all()


def test_splits_of_its_own_are_kept_and_none_may_be_empty(source: Path, tmp_path: Path) -> None:
    for split, count in {"train": 8, "test": 3}.items():
        write_flat(tmp_path / "t" / split / "any" / "where", count, seed=len(split))
    config = config_of(source, folder=tmp_path / "t", labelled=False)
    info = pack(config, SIDE, tmp_path / "store")
    assert info.sizes["target"] == {"train": 6, "val": 2, "test": 3}
    write_flat(tmp_path / "u" / "train", 4)
    (tmp_path / "u" / "test").mkdir()
    config = config_of(source, folder=tmp_path / "u", labelled=False)
    with pytest.raises(InputError, match="domain u: no image in its test split"):
        pack(config, SIDE, tmp_path / "other")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_for_three_splits_are_refused(
    source: Path, tmp_path: Path, count: int
) -> None:
    config = config_of(source, folder=write_flat(tmp_path / "t", count))
    with pytest.raises(InputError, match=f"domain t: it has {count} distinct images?, too few"):
        pack(config, SIDE, tmp_path / "store")
    noise(99_998).save(tmp_path / "t" / "a.jpg")
    noise(99_999).save(tmp_path / "t" / "b.jpg")
    assert pack(config, SIDE, tmp_path / "store").sizes["target"]["val"] == 1


def test_folders_that_are_no_classes_are_refused_with_the_key_that_says_so(
    source: Path, tmp_path: Path
) -> None:
    say_so = r"if the images of the target have no labels, say so: data.target.labelled: false"
    write_domain(tmp_path / "days", {"monday": 4, "tuesday": 4}, seed=3)
    with pytest.raises(InputError, match=f"share none: map their names under 'classes'; {say_so}"):
        open_pair(config_of(source, folder=tmp_path / "days"), tmp_path)
    write_flat(tmp_path / "mixed", 3)
    write_domain(tmp_path / "mixed", {"more": 2}, seed=4)
    with pytest.raises(InputError, match=f"holds both folders and images beside them.*{say_so}"):
        open_pair(config_of(source, folder=tmp_path / "mixed"), tmp_path)
    config = config_of(source, folder=tmp_path / "mixed", labelled=False)
    assert len(open_pair(config, tmp_path).target) == 5
    table = write_table(tmp_path / "t.csv", "path,label", "mixed/000.jpg,")
    with pytest.raises(InputError, match=f"no row has a label; {say_so}"):
        open_pair(config_of(source, manifest=table), tmp_path)
    # What would fail without labels as well is not blamed on them.
    gone = write_table(tmp_path / "gone.csv", "path,label", "nowhere.jpg,mug")
    with pytest.raises(InputError, match=r"no such file: \S+nowhere.jpg$"):
        open_pair(config_of(source, manifest=gone), tmp_path)


@pytest.mark.parametrize("place", ["memory", "file"])
def test_images_behind_a_url(source: Path, tmp_path: Path, place: str) -> None:
    url = f"memory://unlabelled-{tmp_path.name}/shots"
    flat = write_flat(tmp_path / "shots", 6)
    if place == "memory":
        fsspec.filesystem("memory").put(str(flat), url, recursive=True)
    else:
        url = flat.as_uri()
    config = config_of(source, folder=url)
    opened = open_pair(config, tmp_path / "cache").target
    assert not opened.labelled and len(opened) == 6 and opened.name == "shots"


def test_a_source_needs_labels(tmp_path: Path) -> None:
    flat = write_flat(tmp_path / "flat", 3)
    with pytest.raises(InputError, match="expected one folder a class"):
        open_pair(config_of(flat, dataset="digits"), tmp_path)
    source, target = {"folder": flat, "labelled": False}, {"dataset": "digits"}
    with pytest.raises(ValueError, match="'labelled' belongs to the target"):
        DataConfig.model_validate({"source": source, "target": target})


def test_keys_that_need_labels_are_refused(source: Path, tmp_path: Path) -> None:
    flat = write_flat(tmp_path / "flat", 3)
    for key, value in {"classes": {"a": "mug"}, "unlabelled": flat}.items():
        with pytest.raises(SettingError, match=rf"data.target.{key}: the target has no labels"):
            open_pair(config_of(source, folder=flat, **{key: value}), tmp_path)
        with pytest.raises(ValueError, match="the target has no labels"):
            DomainConfig.model_validate({"folder": flat, "labelled": False, key: value})
    config = config_of(source, folder=flat).model_copy(update={"shared_classes_only": True})
    with pytest.raises(SettingError, match=r"data.shared_classes_only: the target has no labels"):
        open_pair(config, tmp_path)


def experiment_with(**search: Any) -> ExperimentConfig:
    data = {"source": {"dataset": "digits"}, "target": {"folder": "shots"}}
    return ExperimentConfig.model_validate({"name": "x", "data": data, "search": search})


def test_the_objective_is_label_free_unless_the_file_says_otherwise() -> None:
    plain = experiment_with()
    assert with_objective(plain, True) is plain
    assert with_objective(plain, False).search.objective == "bnm"
    stated = experiment_with(objective="info_max", budget={"target": 5.0})
    assert with_objective(stated, False) is stated


def test_an_objective_that_needs_labels_is_refused_not_replaced() -> None:
    with pytest.raises(SettingError) as raised:
        with_objective(experiment_with(objective="f1_macro"), False)
    message = str(raised.value)
    assert "search.objective: f1_macro needs target labels and shots has none" in message
    assert "choose bnm" in message and all(name in message for name in VALIDATORS)
    with pytest.raises(SettingError, match=r"search.budget.target: 0.9 is of f1_macro"):
        with_objective(experiment_with(budget={"target": 0.9}), False)


def test_many_images_are_divided_by_their_shares() -> None:
    count = 10_000
    domain = Domain(
        name="many",
        class_names=("bike", "mug"),
        labels=np.full(count, NO_LABEL),
        keys=[f"{number:x}" for number in range(count)],
        decode=lambda number, side: np.zeros((3, side, side), np.uint8),
        places=[""] * count,
        labelled=False,
    )
    parts = split_domain(domain, SplitsConfig())
    sizes = {split: len(rows) for split, rows in parts.items()}
    assert sizes == {"train": 6_000, "val": 2_000, "test": 2_000}
    assert all(rows.dtype == np.int64 for rows in parts.values())
