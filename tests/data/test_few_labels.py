"""``data.target.labels``: which labels of the target's training images training may see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from dann_search.config.data import DataConfig
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.source import SettingError
from dann_search.data.derived_store import write_few_store, write_joined_store
from dann_search.data.domain import NO_LABEL
from dann_search.data.folder import load_folder_domain
from dann_search.data.node_store import StoreSpec
from dann_search.data.splits import split_domain
from dann_search.data.store import few_if_any, labels_if_any, open_images, pack, read_info
from dann_search.data.target_has_labels import fitted_to_target, why_label_free
from dann_search.data.training_data import open_training_data
from dann_search.errors import InputError
from tests.data.images import config_of, noise, write_domain
from tests.data.test_target_has_labels import write_flat, write_table

SIDE = 12


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_domain(tmp_path / "source", {"bike": 10, "mug": 10}, seed=1)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_domain(tmp_path / "target", {"bike": 10, "mug": 10}, seed=2)


def known(store: Path) -> dict[bytes, int]:
    """The packed training images of the target that have a label, by their pixels."""
    few = few_if_any(store)
    assert few is not None
    images = open_images(store, "target", "train")
    return {images[row].tobytes(): int(few[row]) for row in np.flatnonzero(few != NO_LABEL)}


def labels_by_pixels(folder: Path) -> dict[bytes, int]:
    domain = load_folder_domain(folder)
    return {
        domain.decode(row, SIDE).tobytes(): int(domain.labels[row]) for row in range(len(domain))
    }


def test_so_many_of_each_class_are_drawn_from_train_and_all_others_have_no_label(
    source: Path, target: Path, tmp_path: Path
) -> None:
    info = pack(config_of(source, folder=target, labels={"train": 2}), SIDE, tmp_path / "few")
    plain = pack(config_of(source, folder=target), SIDE, tmp_path / "plain")
    assert info.few_labels == [2, 2] and plain.few_labels == []
    # Nothing else of the store is another one.
    assert (info.sizes, info.hashes) == (plain.sizes, plain.hashes)
    assert few_if_any(tmp_path / "plain") is None
    found, right = known(tmp_path / "few"), labels_by_pixels(target)
    assert sorted(found.values()) == [0, 0, 1, 1]
    assert found == {pixels: right[pixels] for pixels in found}
    data = open_training_data(tmp_path / "few")
    assert data.few is not None
    rows = zip(data.few.rows, data.few.labels, strict=True)
    assert {data.target_images[row].numpy().tobytes(): int(label) for row, label in rows} == found


def test_which_are_drawn_depends_on_the_seed_and_not_on_names(
    source: Path, target: Path, tmp_path: Path
) -> None:
    def drawn(name: str, **changes: Any) -> set[bytes]:
        config = config_of(source, folder=target, labels={"train": 2})
        pack(config.model_copy(update=changes), SIDE, tmp_path / name)
        return set(known(tmp_path / name))

    first = drawn("first")
    for file in sorted((target / "mug").iterdir()):
        file.rename(file.with_name(f"{999 - int(file.stem)}.jpg"))
    assert drawn("renamed") == first
    splits = config_of(source, folder=target).splits.model_copy(update={"seed": 1})
    assert drawn("seeded", splits=splits) != first


def test_more_than_a_class_has_are_not_made_up(source: Path, target: Path, tmp_path: Path) -> None:
    config = config_of(source, folder=target, labels={"train": 7})
    match = r"data.target.labels.train: class 'bike' .* has 6 distinct .* 7 .* at most 6, or all"
    with pytest.raises(SettingError, match=match):
        pack(config, SIDE, tmp_path / "store")


def test_all_that_a_table_has_are_those_of_its_training_rows(source: Path, tmp_path: Path) -> None:
    write_flat(tmp_path / "t", 12)
    rows = ["path,label,split", "t/000.jpg,mug,train", "t/001.jpg,,train", "t/002.jpg,bike,train"]
    rows += [f"t/{n:03}.jpg,{'bike' if n % 2 else 'mug'},val" for n in range(3, 7)]
    rows += [f"t/{n:03}.jpg,{'bike' if n % 2 else 'mug'},test" for n in range(7, 12)]
    table = write_table(tmp_path / "t.csv", *rows)
    info = pack(config_of(source, manifest=table, labels={"train": "all"}), SIDE, tmp_path / "s")
    few = few_if_any(tmp_path / "s")
    assert few is not None and few.tolist() == [1, NO_LABEL, 0]
    assert info.target_labelled and info.few_labels == [1, 1]


def test_labels_of_training_rows_alone_leave_val_and_test_without(
    source: Path, tmp_path: Path
) -> None:
    """Every labelled image is trained on; the others are divided by content."""
    write_flat(tmp_path / "t", 12)
    labels = {0: "mug", 1: "bike", 2: "mug"}
    rows = [f"t/{n:03}.jpg,{labels.get(n, '')}" for n in range(12)]
    # A copy of a labelled image is not measured on, later, as if it were another one.
    noise(50_000).save(tmp_path / "t" / "copy.jpg")
    table = write_table(tmp_path / "t.csv", "path,label", *rows, "t/copy.jpg,")
    config = config_of(source, manifest=table, labelled=False, labels={"train": "all"})
    info = pack(config, SIDE, tmp_path / "s")
    assert not info.target_labelled and info.few_labels == [1, 2]
    assert info.sizes["target"] == {"train": 3 + 1 + 5, "val": 2, "test": 2}
    assert labels_if_any(tmp_path / "s", "target", "val") is None
    held_out = (tmp_path / "s" / "target.test.txt").read_text()
    assert not any(name in held_out for name in ("000.jpg", "001.jpg", "002.jpg", "copy.jpg"))


def test_a_folder_beside_an_unlabelled_target_is_trained_on_with_its_labels(
    source: Path, tmp_path: Path
) -> None:
    flat = write_flat(tmp_path / "flat", 10)
    shown = write_domain(tmp_path / "shown", {"bike": 1, "mug": 2}, seed=7)
    info = pack(config_of(source, folder=flat, labels={"folder": shown}), SIDE, tmp_path / "s")
    assert not info.target_labelled and info.few_labels == [1, 2]
    assert info.sizes["target"] == {"train": 6 + 3, "val": 2, "test": 2}
    assert known(tmp_path / "s") == labels_by_pixels(shown)


def test_a_folder_beside_a_labelled_target_adds_its_labels_and_no_others(
    source: Path, target: Path, tmp_path: Path
) -> None:
    shown = write_domain(tmp_path / "shown", {"mug": 2}, seed=7)
    domain, plain = load_folder_domain(target), config_of(source, folder=target)
    mugs = np.flatnonzero(domain.labels == 1)
    tested = next(row for row in split_domain(domain, plain.splits)["test"] if row in mugs)
    (shown / "mug" / "copy.jpg").write_bytes(Path(domain.places[tested]).read_bytes())
    info = pack(config_of(source, folder=target, labels={"folder": shown}), SIDE, tmp_path / "s")
    assert info.target_labelled and info.few_labels == [0, 3]
    assert not any("lacks" in remark for remark in info.remarks)
    assert set(known(tmp_path / "s").values()) == {1}
    # The copied image is in train, though it would be in test.
    trained = {image.tobytes() for image in open_images(tmp_path / "s", "target", "train")}
    for split in ("val", "test"):
        measured = {image.tobytes() for image in open_images(tmp_path / "s", "target", split)}
        assert not trained & measured


def test_a_class_that_nobody_else_has_is_named(source: Path, tmp_path: Path) -> None:
    flat = write_flat(tmp_path / "flat", 10)
    shown = write_domain(tmp_path / "shown", {"mugs": 1}, seed=7)
    with pytest.raises(InputError, match=r"class 'mugs' .* did you mean 'mug'"):
        pack(config_of(source, folder=flat, labels={"folder": shown}), SIDE, tmp_path / "s")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"labels": {}}, "exactly one of: train, folder"),
        ({"labels": {"train": 3, "folder": "x"}}, "exactly one of: train, folder"),
        ({"labels": {"train": 0}}, "greater than or equal to 1"),
        ({"labels": {"train": "some"}}, "all"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    source: Path, target: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        config_of(source, folder="webcam", **target)


def test_labels_of_a_source_cannot_be_chosen(source: Path) -> None:
    with pytest.raises(ValidationError, match="'labels' belongs to the target"):
        DataConfig.model_validate(
            {"source": {"folder": source, "labels": {"train": 1}}, "target": {"folder": "webcam"}}
        )


def experiment_of(data: DataConfig, **changes: Any) -> ExperimentConfig:
    content = {"name": "few", "data": data.model_dump(exclude_none=True), "search": {"trials": 1}}
    return ExperimentConfig.model_validate({"space": {}, **content, **changes})


def test_where_only_training_images_have_labels_the_objective_needs_none(
    source: Path, tmp_path: Path
) -> None:
    flat = write_flat(tmp_path / "flat", 4)
    shown = write_domain(tmp_path / "shown", {"bike": 1, "mug": 1}, seed=7)
    given = experiment_of(config_of(source, folder=flat, labels={"folder": shown}))
    fitted, labelled = fitted_to_target(given)
    assert not labelled and fitted.search.objective == "bnm"
    assert "only its training images have labels" in why_label_free(given)


def test_a_method_that_needs_labels_is_refused_without(source: Path, target: Path) -> None:
    data = config_of(source, folder=target)
    space = {"method": {"choice": ["dann", "source_plus_few"]}}
    for changes in ({"training": {"method": "source_plus_few"}}, {"space": space}):
        with pytest.raises(SettingError, match="source_plus_few needs labelled training images"):
            fitted_to_target(experiment_of(data, **changes))
    few = config_of(source, folder=target, labels={"train": 1})
    assert fitted_to_target(experiment_of(few, space=space))[1]


def test_a_node_packs_another_store_for_other_labels(source: Path, target: Path) -> None:
    digests = {
        StoreSpec("here", config_of(source, folder=target, **more), SIDE, {}).digest
        for more in ({}, {"labels": {"train": 1}}, {"labels": {"train": 2}})
    }
    assert len(digests) == 3


def test_derived_stores_show_training_the_same_labels(
    source: Path, target: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    pack(config_of(source, folder=target, labels={"train": 2}), SIDE, store)
    before = known(store)
    with write_joined_store(store, tmp_path / "joined") as joined:
        assert known(joined) == before
        assert len(open_training_data(joined).target_images) == 12 + 4
    with write_few_store(store, tmp_path / "alone") as alone:
        data = open_training_data(alone)
        images = [image.numpy().tobytes() for image in data.source_images]
        assert dict(zip(images, data.source_labels.tolist(), strict=True)) == before
        assert data.few is None
        # As many steps as the others have: the larger domain, here the source's 16 images.
        assert len(data.target_images) == read_info(store).sizes["source"]["train"]
    assert not alone.exists()
