"""Low-rank adapters: what is trained, and that a model's weights contain them."""

from typing import Any

import pytest
import torch
from torch import nn

from dann_search.config.load import load_experiment
from dann_search.config.source import SettingError
from dann_search.config.trial import TrialConfig
from dann_search.inference.best import weights_of
from dann_search.models import registry
from dann_search.models.backbone import (
    BATCH_NORM,
    Backbone,
    StagedBackbone,
    is_adapter,
    is_statistic,
    plain_name,
)
from dann_search.models.build import build_network
from dann_search.models.catalog import BackboneSpec
from dann_search.models.lora import ALPHA, LowRank
from dann_search.models.registry import register_backbone, spec_of, stage_counts
from dann_search.models.torchvision_models import tv
from dann_search.search.checks import check_networks
from dann_search.training.checkpoint import trained_state
from dann_search.training.memory import peak_of
from dann_search.training.optimizer import Optimizer

# Convolutions with and without groups; attention as torch's module, as weights that are read
# directly (Swin), and as timm's linear layers.
BACKBONES = [
    ("dann_cnn", 16), ("mobilenet_v3_small", 32), ("swin_t", 32), ("vit_b_16", 32),
    ("timm/test_vit3", 48), ("timm/convnextv2_atto", 64),
]  # fmt: skip


@pytest.fixture(autouse=True)
def small_vit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a ViT of torchvision's own layers, at a thousandth of their size."""
    own = tv.get_model

    def smaller(name: str, **options: Any) -> nn.Module:
        if name != "vit_b_16":
            return own(name, **options)
        return tv.VisionTransformer(
            image_size=32, patch_size=16, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=32
        )

    monkeypatch.setattr(tv, "get_model", smaller)


def recipe(backbone: str, **changes: Any) -> TrialConfig:
    return TrialConfig.model_validate(
        {"backbone": backbone, "pretrained": False, "fine_tuning": "lora", "lora_rank": 4,
         "unfrozen_depth": 2, "bottleneck": 8, "method": "source_only", "optimizer": "adamw"}
        | changes
    )  # fmt: skip


def disturb(network: nn.Module) -> None:
    """Let every adapter and statistic be other than it begins with."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if is_adapter(name):
                value.copy_(torch.randn(value.shape, generator=generator) / 10)
            elif name.endswith("running_var"):
                value.copy_(1 + torch.rand(value.shape, generator=generator))


@pytest.mark.parametrize(
    ("backbone", "side", "batch_norm"),
    [*((*one, "separate") for one in BACKBONES), *((*one, "domain") for one in BACKBONES[:2])],
)
def test_merged_weights_of_a_plain_network_give_the_same(
    backbone: str, side: int, batch_norm: str
) -> None:
    config = recipe(backbone, method="mcc", batch_norm=batch_norm)
    network = build_network(config, 3, side=side).eval()
    disturb(network)
    plain = build_network(recipe(backbone, fine_tuning="stages"), 3, side=side, bare=True).eval()
    untouched = {name: value.clone() for name, value in plain.state_dict().items()}
    plain.load_state_dict(weights_of(network))
    changed = [name for name, value in plain.state_dict().items()
               if name.startswith("backbone.") and name.endswith("weight")
               and not torch.equal(value, untouched[name])]  # fmt: skip
    assert changed
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        assert torch.allclose(plain(images), network(images), atol=1e-5)


@pytest.mark.parametrize(("backbone", "side"), BACKBONES)
def test_adapters_of_unfrozen_stages_and_the_heads_are_all_that_a_step_moves(
    backbone: str, side: int
) -> None:
    config = recipe(backbone)
    network = build_network(config, 3, side=side).train()
    stages = len(spec_of(backbone).stages)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = Optimizer(network, config)
    for _ in range(2):  # in the first step the other factor is 0
        images = torch.rand(2, 3, side, side)
        optimizer.backward(nn.functional.cross_entropy(network(images), torch.tensor([0, 2])))
        optimizer.step()
    kept = trained_state(network)
    for name, value in network.state_dict().items():
        own = name.removeprefix("backbone.")
        if own == name:
            continue
        moved = not torch.equal(value, before[name])
        unfrozen = network.backbone.stage_of(plain_name(own)) >= stages - 2
        assert moved == (name in kept and unfrozen), name
        assert not moved or is_adapter(name) or is_statistic(name), name
    assert sum(is_adapter(name) for name in kept) > 0


def test_a_new_adapter_changes_nothing_and_a_trained_one_what_the_paper_says() -> None:
    weight = torch.rand(6, 5, 3, 3)
    adapter = LowRank(weight, 4)
    assert torch.equal(adapter(weight), weight)
    nn.init.normal_(adapter.b)
    expected = weight + ALPHA / 4 * (adapter.b @ adapter.a).reshape(6, 5, 3, 3)
    assert torch.allclose(adapter(weight), expected)
    assert torch.linalg.matrix_rank(adapter(weight).flatten(1) - weight.flatten(1)) == 4
    assert LowRank(torch.rand(3, 100), 8).a.shape == (3, 100)


def test_depthwise_convolutions_stay_as_they_are() -> None:
    network = build_network(recipe("mobilenet_v3_small", unfrozen_depth=None), 3)
    adapted = {plain_name(name) for name in network.backbone.state_dict() if is_adapter(name)}
    for path, module in network.backbone.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            grouped = isinstance(module, nn.Conv2d) and module.groups > 1
            assert (f"{path}.weight" in adapted) != grouped
        assert not (isinstance(module, BATCH_NORM) and f"{path}.weight" in adapted)


def test_heads_alone_and_networks_from_scratch_have_no_adapters() -> None:
    for changes in ({"unfrozen_depth": 0}, {"method": "from_scratch"}):
        network = build_network(recipe("dann_cnn", **changes), 3)
        assert not any(map(is_adapter, network.state_dict()))
    assert network.backbone.frozen == 0 and next(network.backbone.parameters()).requires_grad


def test_adapters_of_frozen_stages_rates_by_stage_and_memory() -> None:
    config = recipe("dann_cnn", stage_lr_decay=0.5, learning_rate=0.1)
    optimizer = Optimizer(build_network(config, 3), config)
    assert sorted(group["lr"] for group in optimizer.torch.param_groups) == [0.05, 0.1, 1.0, 1.0]
    large: dict[str, Any] = {"backbone": "vgg16", "unfrozen_depth": None, "batch_size": 2}
    peaks = [
        peak_of(recipe(**large, fine_tuning=how), classes=3, side=32).machine
        for how in ("lora", "stages")
    ]
    assert peaks[0] < peaks[1]


@pytest.mark.parametrize("section", ["space", "training"])
def test_a_backbone_without_linear_layers_and_convolutions_is_refused_at_launch(
    monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    monkeypatch.setattr(registry.BACKBONES, "_entries", {})

    @register_backbone(BackboneSpec(name="grouped", stages=("all",), image_size=16))
    def build(state: Any) -> Backbone:
        return StagedBackbone({"all": nn.Conv2d(3, 3, 3, groups=3)}, feature_size=3)

    digits = {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}}
    how = {"choice": ["stages", "lora"]} if section == "space" else "lora"
    for name, fits in (("grouped", False), ("dann_cnn", True)):
        content: dict[str, Any] = {"data": digits, "training": {"backbone": name}}
        content.setdefault(section, {})["fine_tuning"] = how
        experiment, space = load_experiment(content, stage_counts())
        if fits:
            check_networks(experiment, space)
            continue
        with pytest.raises(SettingError, match=rf"{section}.fine_tuning: 'lora' .* grouped has no"):
            check_networks(experiment, space)
