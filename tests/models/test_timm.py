"""timm's models through the common interface, and backbones of users' own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dann_search.data.torchvision_shim import torchvision  # noqa: F401  isort: skip
import timm  # isort: skip

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models import registry
from dann_search.models.backbone import BATCH_NORM, Backbone, StagedBackbone
from dann_search.models.build import build_backbone, build_network
from dann_search.models.catalog import HALF, IMAGENET_MEAN, BackboneSpec
from dann_search.models.registry import register_backbone, spec_of, stage_counts

LITE = "timm/efficientnet_lite0"
SHARED = Path(__file__).parents[3] / "shared/data/efficientnet_lite0.timm.safetensors"
needs_weights = pytest.mark.skipif(not SHARED.exists(), reason=f"no real weights at {SHARED}")


def network_of(name: str, depth: int | None = None) -> Any:
    config = TrialConfig(backbone=name, pretrained=False, unfrozen_depth=depth, bottleneck=8)
    return build_network(config, 3, side=64)


def test_what_timm_says_of_a_network_becomes_its_specification() -> None:
    spec = spec_of(LITE)
    assert spec.stages[0] == "stem" and len(spec.stages) == 8 == stage_counts()[LITE]
    assert (spec.image_size, spec.only_size) == (224, False)
    vit = spec_of("timm/vit_tiny_patch16_224")
    assert not vit.only_size and vit.multiple == 16 and vit.mean == (0.5, 0.5, 0.5)
    assert len(vit.stages) == 13  # the embedding and 12 blocks


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize(
    ("name", "native", "patch", "stages", "mean", "licence"),
    [
        ("vit_small_patch14_dinov2", 518, 14, 13, IMAGENET_MEAN, "apache-2.0"),
        ("vit_base_patch14_reg4_dinov2", 518, 14, 13, IMAGENET_MEAN, "apache-2.0"),
        ("vit_small_patch16_dinov3", 256, 16, 13, IMAGENET_MEAN, "dinov3-license"),
        ("vit_base_patch32_clip_224.openai", 224, 32, 13, CLIP_MEAN, "apache-2.0"),
        # Its attention pooling is the top stage.
        ("vit_base_patch16_siglip_224", 224, 16, 14, HALF, "apache-2.0"),
        ("convnextv2_atto", 224, 1, 6, IMAGENET_MEAN, "cc-by-nc-4.0"),
    ],
)
def test_foundation_models_are_described_as_their_weights_were_trained(
    name: str, native: int, patch: int, stages: int, mean: tuple[float, ...], licence: str
) -> None:
    spec = spec_of(f"timm/{name}")
    assert (spec.image_size, spec.multiple, len(spec.stages)) == (native, patch, stages)
    assert (spec.mean, spec.licence, spec.only_size) == (mean, licence, False)


# Small ones built as CLIP with a class token, as DINOv2 with registers, and as SigLIP with
# attention pooling; DINOv3 with rotary embeddings; and ConvNeXt-V2.
PATCHES = ["timm/test_vit", "timm/test_vit2", "timm/test_vit3"]
FOUNDATION = [*PATCHES, "timm/vit_small_patch16_dinov3", "timm/convnextv2_atto"]


def native_state(name: str) -> dict[str, torch.Tensor]:
    """Random weights of the native side, as a file of timm's holds them."""
    torch.manual_seed(0)
    return dict(timm.create_model(name.removeprefix("timm/"), num_classes=7).state_dict())


@pytest.mark.parametrize("name", ["vit_xsmall_patch16_clip_224", "test_vit2", "test_vit3"])
def test_what_comes_before_the_blocks_is_the_lowest_stage(name: str) -> None:
    backbone = build_backbone(f"timm/{name}", None)
    before = ("cls_token", "reg_token", "pos_embed", "patch_embed", "norm_pre")
    own = {key: key.removeprefix("network.") for key in backbone.state_dict()}
    assert any(key.startswith(before) for key in own.values())
    for key, theirs in own.items():
        assert (backbone.stage_of(key) == 0) == theirs.startswith(before), key


@pytest.mark.parametrize("name", FOUNDATION)
def test_weights_of_another_side_give_what_timm_interpolates_in_each_pass(name: str) -> None:
    state = native_state(name)
    network = build_backbone(name, state, side=64).eval()
    own: dict[str, Any] = {"dynamic_img_size": True} if spec_of(name).multiple > 1 else {}
    reference = timm.create_model(name.removeprefix("timm/"), num_classes=0, **own).eval()
    reference.load_state_dict({k: v for k, v in state.items() if not k.startswith("head.fc")},
                              strict=False)  # fmt: skip
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(network(images), reference(images), atol=1e-5)


def test_weights_of_the_own_side_are_loaded_as_they_are() -> None:
    state = native_state("timm/test_vit")
    loaded = build_backbone("timm/test_vit", state, side=160).state_dict()
    assert torch.equal(loaded["network.pos_embed"], state["pos_embed"])


def test_weights_of_another_patch_transformer_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(native_state("timm/test_vit3"), file)
    files = {"timm/test_vit": WeightsFile(file=file)}
    with pytest.raises(InputError, match=r"not weights of timm/test_vit: "):
        build_network(TrialConfig(backbone="timm/test_vit"), 3, files, side=64)


@pytest.mark.parametrize(
    "name", [LITE, "timm/resnet10t", "timm/mobilenetv4_conv_small_050", *FOUNDATION]
)
def test_every_depth_trains_what_it_says_and_nothing_below(name: str) -> None:
    stages = len(spec_of(name).stages)
    # Every depth of few stages; of many, those at the ends and in the middle.
    for depth in range(stages + 1) if stages < 8 else (0, 1, stages // 2, stages):
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
