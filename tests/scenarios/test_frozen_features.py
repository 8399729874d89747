"""Kept features of every backbone's frozen stages."""

from pathlib import Path

import pytest

from dann_search.models.catalog import CATALOG
from dann_search.training import frozen_stages
from tests.training.test_frozen_stages import check_top_stage

pytestmark = pytest.mark.scenario
TIMM = [
    "timm/convnext_atto",
    "timm/regnety_002",
    "timm/resnet10t",
    "timm/vit_tiny_patch16_224",
]


# vit_b_16 takes 224 pixels alone; its classes are those of timm's ViT.
@pytest.mark.parametrize("name", [*(name for name in CATALOG if name != "vit_b_16"), *TIMM])
def test_kept_features_train_the_same_top_stage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_stages, "WORTH", 0)
    check_top_stage(name, tmp_path)
