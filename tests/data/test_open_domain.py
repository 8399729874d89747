"""Two domains under one list of classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dann_search.config.data import DataConfig, DomainConfig
from dann_search.data.decode import decode_image
from dann_search.data.domain import NO_LABEL, Domain
from dann_search.data.open_domain import DomainPair, _renamed, open_domain, open_pair
from dann_search.errors import InputError
from tests.data.images import noise, write_domain


def pair(tmp_path: Path, source: Any, target: Any, **options: Any) -> DomainPair:
    """Open domains written as in a file, folders relative to ``tmp_path``."""

    def located(domain: dict[str, Any]) -> dict[str, Any]:
        places = {"folder", "unlabelled", "manifest"}
        return {key: tmp_path / v if key in places else v for key, v in domain.items()}

    several = isinstance(source, list)
    sources = [located(one) for one in source] if several else located(source)
    config = {"source": sources, "target": located(target)} | options
    return open_pair(DataConfig.model_validate(config), tmp_path / "cache")


def names_of(domain: Domain) -> dict[str, str]:
    """Class name of each image by its folder and file name."""
    names = (*domain.class_names, "")
    places = ["/".join(Path(place).parts[-2:]) for place in domain.places]
    return {
        place: names[label] for place, label in zip(places, domain.labels.tolist(), strict=True)
    }


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    write_domain(tmp_path / "cifar", {"automobile": 2, "bird": 2, "frog": 3}, seed=1)
    write_domain(tmp_path / "stl", {"bird": 2, "car": 1, "monkey": 2}, seed=2)
    return tmp_path


def test_classes_of_one_domain_are_mapped_and_the_rest_left_out_where_asked_for(
    folders: Path,
) -> None:
    both = pair(
        folders,
        {"folder": "cifar", "classes": {"automobile": "car"}},
        {"folder": "stl"},
        shared_classes_only=True,
    )
    assert both.source.class_names == both.target.class_names == ("bird", "car")
    assert names_of(both.source) == {
        "automobile/000.jpg": "car",
        "automobile/001.jpg": "car",
        "bird/000.jpg": "bird",
        "bird/001.jpg": "bird",
    }
    assert names_of(both.target) == {
        "bird/000.jpg": "bird",
        "bird/001.jpg": "bird",
        "car/000.jpg": "car",
    }
    assert both.remarks == (
        "cifar: skipped 3 images of 1 class that stl does not have (frog)",
        "stl: skipped 2 images of 1 class that cifar does not have (monkey)",
    )
    # What decodes an image stays with it.
    file = folders / "cifar" / "bird" / "001.jpg"
    row = list(names_of(both.source)).index("bird/001.jpg")
    assert np.array_equal(both.source.decode(row, 8), decode_image(file, 8))


def test_several_classes_may_become_one(folders: Path) -> None:
    write_domain(folders / "coarse", {"bird": 1, "other": 1}, seed=3)
    mapping = {"automobile": "other", "frog": "other"}
    source = pair(folders, {"folder": "cifar", "classes": mapping}, {"folder": "coarse"}).source
    assert source.class_names == ("bird", "other")
    assert sorted(source.labels.tolist()) == [0, 0, 1, 1, 1, 1, 1]
    assert names_of(source)["frog/000.jpg"] == "other"


def test_unequal_classes_are_refused_with_the_ways_out(folders: Path) -> None:
    with pytest.raises(InputError, match=r"domain stl lacks 2 classes that cifar has: automobile, "
                       r"frog; map .* data\.shared_classes_only: true, .*; stl has car, "
                       r"monkey instead"):  # fmt: skip
        pair(folders, {"folder": "cifar"}, {"folder": "stl"})
    with pytest.raises(InputError, match=r"to use none of them: data\.target\.labelled: false"):
        pair(folders, {"folder": "cifar"}, {"folder": "stl"})
    blind = pair(folders, {"folder": "cifar"}, {"folder": "stl", "labelled": False})
    assert blind.target.class_names == blind.source.class_names


def test_domains_that_share_too_few_classes_are_refused(folders: Path) -> None:
    with pytest.raises(InputError, match="domains cifar and stl share 1 class; 2 are needed"):
        pair(folders, {"folder": "cifar"}, {"folder": "stl"}, shared_classes_only=True)


def test_a_mapping_of_an_unknown_class_is_refused_with_the_nearest(folders: Path) -> None:
    with pytest.raises(InputError, match=r"no class 'automobil'; did you mean 'automobile'"):
        pair(folders, {"folder": "cifar", "classes": {"automobil": "car"}}, {"folder": "stl"})


def test_several_sources_are_one_with_their_labels_and_contents(tmp_path: Path) -> None:
    write_domain(tmp_path / "amazon", {"bike": 2, "mug": 2}, seed=1)
    write_domain(tmp_path / "dslr", {"mug": 1, "pen": 2}, seed=2)
    write_domain(tmp_path / "webcam", {"bike": 1, "mug": 1, "pen": 1}, seed=3)
    both = pair(tmp_path, [{"folder": "amazon"}, {"folder": "dslr"}], {"folder": "webcam"})
    source = both.source
    assert source.name == "amazon+dslr"
    assert source.class_names == ("bike", "mug", "pen")
    assert source.labels.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert both.remarks == (
        "amazon: lacks pen, which other sources have",
        "dslr: lacks bike, which other sources have",
    )
    alone = pair(tmp_path, {"folder": "dslr"}, {"folder": "webcam"}, shared_classes_only=True)
    for row in range(3):
        assert source.keys[4 + row] == alone.source.keys[row]
        assert np.array_equal(source.decode(4 + row, 8), alone.source.decode(row, 8))


def test_sources_with_and_without_splits_do_not_mix(tmp_path: Path) -> None:
    write_domain(tmp_path / "amazon", {"bike": 2, "mug": 2}, seed=1)
    for split in ("train", "test"):
        write_domain(tmp_path / "dslr" / split, {"bike": 1, "mug": 1}, seed=2)
    with pytest.raises(InputError, match="domain dslr comes with splits and domain amazon without"):
        pair(tmp_path, [{"folder": "amazon"}, {"folder": "dslr"}], {"dataset": "digits"})


def test_images_without_labels_join_a_target_and_are_refused_in_a_source(tmp_path: Path) -> None:
    write_domain(tmp_path / "amazon", {"bike": 2, "mug": 2}, seed=1)
    write_domain(tmp_path / "phone" / "test", {"bike": 1, "mug": 1}, seed=2)
    (tmp_path / "phone" / "train").mkdir()
    noise(5).save(tmp_path / "phone" / "train" / "loose.jpg")
    (tmp_path / "more" / "deep").mkdir(parents=True)
    noise(6).save(tmp_path / "more" / "deep" / "x.png")
    target = pair(tmp_path, {"folder": "amazon"}, {"folder": "phone", "unlabelled": "more"}).target
    assert target.class_names == ("bike", "mug") and target.name == "phone"
    assert names_of(target) == {
        "bike/000.jpg": "bike",
        "mug/000.jpg": "mug",
        "train/loose.jpg": "",
        "deep/x.png": "",
    }
    assert target.splits == ["test", "test", "train", "train"]
    assert target.labels.tolist() == [0, 1, NO_LABEL, NO_LABEL]
    with pytest.raises(InputError, match=r"domain phone: 1 image has no label, .*loose\.jpg"):
        pair(tmp_path, {"folder": "phone"}, {"folder": "amazon"})


def test_classes_keep_the_order_of_their_data_set(folders: Path) -> None:
    """fashion_mnist has an order of its own; labels are numbers in it."""
    domain = open_domain(DomainConfig(folder=folders / "cifar"), folders / "cache")
    own = domain.with_classes(["frog", "automobile", "bird"])
    assert _renamed(own, {}) is own
    assert _renamed(own, {"frog": "toad"}).class_names == ("automobile", "bird", "toad")
