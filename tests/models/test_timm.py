"""timm's models through the common interface, and backbones of users' own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models import registry
from dann_search.models.backbone import BATCH_NORM, Backbone, StagedBackbone
from dann_search.models.build import build_network
from dann_search.models.catalog import BackboneSpec
from dann_search.models.registry import register_backbone, spec_of, stage_counts

LITE = "timm/efficientnet_lite0"
SHARED = Path(__file__).parents[3] / "shared/data/efficientnet_lite0.timm.safetensors"
needs_weights = pytest.mark.skipif(not SHARED.exists(), reason=f"no real weights at {SHARED}")


def network_of(name: str, depth: int | None = None) -> Any:
    config = TrialConfig(backbone=name, pretrained=False, unfrozen_depth=depth, bottleneck=8)
    return build_network(config, 3)


def test_what_timm_says_of_a_network_becomes_its_specification() -> None:
    spec = spec_of(LITE)
    assert spec.stages[0] == "stem" and len(spec.stages) == 8 == stage_counts()[LITE]
    assert (spec.image_size, spec.only_size) == (224, False)
    vit = spec_of("timm/vit_tiny_patch16_224")
    assert vit.only_size and vit.smallest == 224 and vit.mean == (0.5, 0.5, 0.5)
    assert len(vit.stages) == 13  # the embedding and 12 blocks


@pytest.mark.parametrize("name", [LITE, "timm/resnet10t", "timm/mobilenetv4_conv_small_050"])
def test_every_depth_trains_what_it_says_and_nothing_below(name: str) -> None:
    stages = len(spec_of(name).stages)
    for depth in range(stages + 1):
        network = network_of(name, depth).train()
        backbone: Backbone = network.backbone
        before = {key: value.clone() for key, value in backbone.state_dict().items()}
        features = backbone(torch.rand(2, 3, 64, 64))
        assert features.shape == (2, backbone.feature_size)
        if depth:
            features.sum().backward()
        else:
            assert not features.requires_grad
        for key, parameter in backbone.named_parameters():
            trained = backbone.stage_of(key) >= stages - depth
            assert (parameter.grad is not None) == trained == parameter.requires_grad, key
        frozen = backbone.frozen_names
        assert {backbone.stage_of(key) for key in frozen} == set(range(stages - depth))
        for key, value in backbone.state_dict().items():
            assert torch.equal(value, before[key]) or key not in frozen, key
        for key, module in backbone.named_modules():
            if isinstance(module, BATCH_NORM):
                assert module.training == (f"{key}.weight" not in frozen), key


@needs_weights
def test_real_weights_are_loaded_strictly_but_for_the_head() -> None:
    files = {LITE: WeightsFile(file=SHARED)}
    network = build_network(TrialConfig(backbone=LITE), 10, files)
    state = load_file(SHARED)
    loaded = network.backbone.state_dict()
    assert len(loaded) == len(state) - 2
    assert all(
        torch.equal(value, state[key.removeprefix("network.")]) for key, value in loaded.items()
    )


@needs_weights
def test_weights_of_another_network_are_refused_by_their_first_keys() -> None:
    files = {"timm/resnet10t": WeightsFile(file=SHARED)}
    with pytest.raises(InputError, match=r"not weights of timm/resnet10t: .*conv1"):
        build_network(TrialConfig(backbone="timm/resnet10t"), 10, files)


def test_normalization_is_that_of_the_weights() -> None:
    files = {LITE: WeightsFile.model_validate({"file": "x", "mean": 0.5, "std": [0.5, 0.4, 0.3]})}
    spec = spec_of(LITE, files)
    assert spec.mean == (0.5, 0.5, 0.5) and spec.std == (0.5, 0.4, 0.3)
    assert spec_of(LITE).mean == (0.485, 0.456, 0.406)


def test_an_unknown_network_of_timms_is_met_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean 'timm/efficientnet_lite0'"):
        spec_of("timm/eficientnet_lite0")


def test_without_timm_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    registry._timm_spec.cache_clear()
    monkeypatch.delitem(sys.modules, "dann_search.models.timm_models", raising=False)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'dann-search\[timm\]'"):
        spec_of("timm/resnet10t")


def test_a_users_own_backbone_is_built_and_frozen_like_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.BACKBONES, "_entries", {})

    @register_backbone(BackboneSpec(name="own", stages=("stem", "top"), image_size=32, smallest=8))
    def build(state: Any) -> Backbone:
        stages = {"stem": nn.Conv2d(3, 4, 3), "top": nn.Conv2d(4, 6, 3)}
        return StagedBackbone(stages, feature_size=6)

    assert stage_counts()["own"] == 2 and "own" in list(stage_counts())
    network = network_of("own", 1)
    assert network(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    assert network.backbone.frozen_names == {"stages.stem.weight", "stages.stem.bias"}


def test_a_name_of_the_catalogue_cannot_be_registered_again() -> None:
    spec = BackboneSpec(name="resnet18", stages=("stem",), image_size=32, smallest=8)
    with pytest.raises(ValueError, match="resnet18 is taken"):
        register_backbone(spec)(lambda state: None)
