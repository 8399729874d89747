"""What a search's checkpoints take of the disk, and what is said where there is no room."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dann_search.config.load import load_experiment
from dann_search.config.source import SettingError
from dann_search.data.store import StoreInfo
from dann_search.models.registry import stage_counts
from dann_search.search import disk_need
from dann_search.search.disk_need import check_room, kept_features
from dann_search.training.checkpoint import BEST, LAST, checkpoint_bytes
from dann_search.training.loop import train
from tests.experiments import space_file
from tests.training.recipes import recipe, tiny_data

MB = 10**6


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw"},
        {"ema_decay": 0.9, "unfrozen_depth": 2},
        {"momentum": 0.0, "method": "source_only"},
        {"fine_tuning": "lora", "lora_rank": 2, "unfrozen_depth": 2, "optimizer": "adamw"},
    ],
    ids=["sgd", "adamw", "average", "plain", "lora"],
)
def test_the_size_of_checkpoints_is_known_before_they_are_written(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    config, data = recipe(epochs=2, **changes), tiny_data()
    next(train(config, data, tmp_path))
    found = [(tmp_path / name).stat().st_size for name in (BEST, LAST)]
    assert checkpoint_bytes(config, data.classes) == pytest.approx(found, rel=0.05, abs=20_000)


def room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, **changes: Any
) -> tuple[disk_need.DiskNeed, list[str]]:
    path = space_file(tmp_path, **changes)
    experiment, space = load_experiment(path, stage_counts())
    asked = lambda place: SimpleNamespace(free=free)  # noqa: E731
    monkeypatch.setattr(disk_need, "shutil", SimpleNamespace(disk_usage=asked))
    need = disk_need.disk_need(experiment, space)
    assert need is not None
    return need, check_room(experiment, space)


def test_a_search_is_refused_only_where_it_is_certain_not_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vgg = {"training__backbone": "vgg16", "search__trials": 500, "search__keep_best": 20}
    need, said = room(tmp_path, monkeypatch, 10**12, **vgg)
    assert (need.models, said) == (20, [])
    assert need.left == 20 * need.model
    _, (remark,) = room(tmp_path, monkeypatch, need.left, **vgg)
    assert "models of the 20 best trials (search.keep_best)" in remark
    assert f"has {need.left / 1e9:.1f} GB free" in remark
    with pytest.raises(SettingError, match=r"the checkpoints of one trial take .* at least"):
        room(tmp_path, monkeypatch, MB, **vgg)


def test_low_rank_adapters_need_less_room_than_the_weights_that_they_adapt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vgg = {"training__backbone": "vgg16", "space__unfrozen_depth": {"int": [3, 5]}}
    with pytest.raises(SettingError, match=r"the checkpoints of one trial take .* at least"):
        room(tmp_path, monkeypatch, 20 * MB, **vgg)
    _, (remark,) = room(
        tmp_path, monkeypatch, 20 * MB, **vgg, space__fine_tuning={"choice": ["stages", "lora"]}
    )
    assert "has 20.0 MB free" in remark


def test_a_folder_that_does_not_exist_yet_is_looked_at_where_it_will_be(tmp_path: Path) -> None:
    path = space_file(tmp_path, storage=str(tmp_path / "not" / "there"))
    experiment, space = load_experiment(path, stage_counts())
    assert shutil.disk_usage(tmp_path).free > 100 * MB
    assert check_room(experiment, space) == []
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ({"training__views": 0}, None),
        ({"training__views": 3}, "depth 0 to 2 of resnet50 (8 to 1606 kB) an image and view"),
        ({"space__views": {"choice": [0, 3]}}, "depth 0 to 2 of resnet50 (8 to 1606 kB)"),
        ({"space__views": {"int": [0, 3]}}, "depth 0 to 2 of resnet50 (8 to 1606 kB)"),
        ({"training__views": 1, "data__feature_limit_gib": 0}, None),
    ],
)
def test_kept_features_are_told_by_backbone_and_depth(
    tmp_path: Path, views: dict[str, Any], said: str | None
) -> None:
    changes = {"training__backbone": "resnet50", "data__image_size": 224}
    path = space_file(tmp_path, **changes, **views, space__unfrozen_depth={"int": [0, 3]})
    experiment, space = load_experiment(path, stage_counts())
    told = kept_features(experiment.data, space)
    assert said in told if said and told else told == said
    sizes = {role: {"train": 1000, "val": 100} for role in ("source", "target")}
    info = StoreInfo([], 224, True, {}, sizes, {}, 0)
    found = kept_features(experiment.data, space, info)
    assert (found is None) == (said is None)
    if found:  # 6,200 images of 1,605,632 bytes
        assert "resnet50 (9.3 GiB at most)" in found
