"""The smallest side of a backbone is found out, not declared."""

from typing import Any

import pytest
import torch
from torch import nn

from dann_search.config.load import load_experiment
from dann_search.config.source import SettingError
from dann_search.errors import InputError
from dann_search.models import registry, sizes
from dann_search.models.backbone import Backbone, StagedBackbone
from dann_search.models.catalog import CATALOG, BackboneSpec
from dann_search.models.registry import register_backbone, stage_counts
from dann_search.models.sizes import forward_of, size_needed
from dann_search.search.checks import check_networks

DIGITS = {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}}


@pytest.mark.parametrize("name", ["dann_cnn", "vgg16", "inception_v3", "convnext_tiny"])
def test_what_the_catalogue_declares_is_what_a_forward_pass_finds(name: str) -> None:
    takes = forward_of(name)
    assert takes(CATALOG[name].smallest) and takes(CATALOG[name].image_size)
    if name != "dann_cnn":  # of which less than 16 pixels leave one feature and no more
        assert not takes(CATALOG[name].smallest - 1)


@pytest.mark.parametrize(
    ("name", "side", "needed"),
    [
        ("timm/inception_v3", 64, "at least 75 for timm/inception_v3"),
        ("timm/inception_v3", 75, None),
        ("timm/vgg11", 31, "at least 32 for timm/vgg11"),
        ("timm/resnet10t", 20, None),
        ("timm/hrnet_w18_small", 230, "224 for timm/hrnet_w18_small, its native side"),
        ("timm/vit_tiny_patch16_224", 192, None),
        ("timm/vit_small_patch14_dinov2", 224, None),
        (
            "timm/vit_small_patch14_dinov2",
            256,
            "a multiple of 14 for timm/vit_small_patch14_dinov2, as 252 or 266",
        ),
        ("timm/test_vit3", 8, "a multiple of 16 for timm/test_vit3, as 16 or 32"),
        ("timm/beit_base_patch16_224", 192, "224 for timm/beit_base_patch16_224, which is built"),
        ("vit_b_16", 192, "224 for vit_b_16, which is built for that side alone"),
        ("vgg16", 16, "at least 32 for vgg16"),
    ],
)
def test_a_side_that_fails_is_answered_by_one_that_works(
    name: str, side: int, needed: str | None
) -> None:
    found = size_needed(name, side)
    assert found is None if needed is None else found is not None and found.startswith(needed)


def test_it_takes_no_memory_for_weights_and_one_network_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry.BACKBONES, "_entries", {})
    built: list[Any] = []

    @register_backbone(BackboneSpec(name="sized", stages=("all",), image_size=40))
    def build(state: Any) -> Backbone:
        built.append(nn.Conv2d(3, 6, 9))
        return StagedBackbone({"all": built[-1]}, feature_size=6)

    assert size_needed("sized", 8) == "at least 9 for sized"
    assert size_needed("sized", 9) is None
    (convolution,) = built
    assert convolution.weight.is_meta


@pytest.mark.parametrize("raises", ["when built", "when run"])
def test_a_backbone_that_needs_memory_is_believed_what_it_declares(
    monkeypatch: pytest.MonkeyPatch, raises: str
) -> None:
    monkeypatch.setattr(registry.BACKBONES, "_entries", {})
    name = f"own, {raises}"

    class Reading(nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.sum().item() > 0  # no value without memory
            return super().forward(images)

    @register_backbone(BackboneSpec(name=name, stages=("all",), image_size=40, smallest=16))
    def build(state: Any) -> Backbone:
        part = Reading(3, 6, 9)
        if raises == "when built":
            part.weight.sum().item()
        return StagedBackbone({"all": part}, feature_size=6)

    assert size_needed(name, 20) is None
    assert size_needed(name, 8) == f"at least 16 for {name}"


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (
            {"image_size": 64},
            "data.image_size: must be at least 75 for timm/inception_v3, got 64",
        ),
        (
            {"image_size": 96, "crop_size": 64},
            "data.crop_size: must be at least 75 for timm/inception_v3, got 64",
        ),
        ({"image_size": 96}, ""),
        ({}, ""),
    ],
)
def test_a_launch_names_the_key_the_side_and_the_smallest(
    sides: dict[str, int], message: str
) -> None:
    content = {"data": {**DIGITS, **sides}, "training": {"backbone": "timm/inception_v3"}}
    experiment, space = load_experiment(content, stage_counts())
    if not message:
        check_networks(experiment, space)
        return
    with pytest.raises(SettingError) as caught:
        check_networks(experiment, space)
    assert str(caught.value) == message


def test_the_catalogues_own_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "forward_of", lambda name: pytest.fail(f"built {name}"))
    for name, spec in CATALOG.items():
        assert size_needed(name, spec.smallest) is None
        assert size_needed(name, spec.smallest - 1) is not None


def test_a_crop_fits_into_what_is_stored() -> None:
    for sides, message in (
        ({"crop_size": 32}, r"data.crop_size: needs image_size"),
        ({"image_size": 28, "crop_size": 32}, r"data.crop_size: must be at most image_size \(28\)"),
    ):
        with pytest.raises(InputError, match=message):
            load_experiment({"data": {**DIGITS, **sides}}, stage_counts())
    load_experiment({"data": {**DIGITS, "image_size": 32, "crop_size": 32}}, stage_counts())
