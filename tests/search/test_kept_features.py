"""What space and launch say of kept features."""

from pathlib import Path
from typing import Any

import pytest

from dann_search.config.load import load_experiment
from dann_search.data.store import StoreInfo
from dann_search.models.registry import stage_counts
from dann_search.search.kept_features import kept_features
from tests.experiments import space_file


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
def test_they_are_told_by_backbone_and_depth(
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
