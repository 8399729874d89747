"""Every backbone of the catalogue: its stages, its freezing, its forward and backward pass."""

from collections.abc import Iterable

import pytest
import torch
from torch import nn

from dann_search.config.extensions import METHODS
from dann_search.config.trial import TrialConfig
from dann_search.models import torchvision_models
from dann_search.models.backbone import BATCH_NORM, StagedBackbone
from dann_search.models.build import build_network
from dann_search.models.catalog import CATALOG, DANN_NETWORKS
from dann_search.models.network import DannNetwork
from dann_search.models.registry import largest_native_size, stage_counts

CLASSES = 3
DEPTHS = [
    (name, depth)
    for name, count in stage_counts().items()
    for depth in (range(count + 1) if name in ("dann_cnn", "resnet18") else [count // 2])
]
"""Every depth of two backbones, one of each other."""


def network_of(backbone: str, **recipe: object) -> DannNetwork:
    config = TrialConfig.model_validate(
        {"backbone": backbone, "pretrained": False, "bottleneck": 8, "discriminator_width": 8}
        | recipe
    )
    return build_network(config, CLASSES)


def stages_of(network: DannNetwork) -> Iterable[tuple[str, nn.Module]]:
    assert isinstance(network.backbone, StagedBackbone)
    return network.backbone.stages.named_children()


def images_for(backbone: str, count: int = 2) -> torch.Tensor:
    side = CATALOG[backbone].smallest
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, side, side, generator=generator)


@pytest.mark.parametrize("name", DANN_NETWORKS)
def test_stages_and_smallest_side_of_our_own_are_those_of_the_catalogue(name: str) -> None:
    network = network_of(name).eval()
    assert network.backbone.stage_names == CATALOG[name].stages
    with torch.no_grad():
        assert network.backbone(images_for(name)).shape == (2, network.backbone.feature_size)
        assert network(images_for(name)).shape == (2, CLASSES)


@pytest.mark.parametrize(("name", "depth"), DEPTHS)
def test_frozen_stages_receive_no_gradient_and_keep_their_statistics(name: str, depth: int) -> None:
    network = network_of(name, unfrozen_depth=depth)
    network.train()
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    network(images_for(name)).sum().backward()
    stages = list(stages_of(network))
    for index, (stage, module) in enumerate(stages):
        trained = index >= len(stages) - depth
        for parameter in module.parameters():
            assert parameter.requires_grad == trained
            assert (parameter.grad is not None) == trained
        for key, value in module.state_dict().items():
            same = torch.equal(value, before[f"stages.{stage}.{key}"])
            assert same or (trained and "running" in key) or "num_batches" in key
        statistics = [m for m in module.modules() if isinstance(m, BATCH_NORM)]
        assert all(norm.training == trained for norm in statistics)
        if not trained:
            assert all(norm.num_batches_tracked == 0 for norm in statistics)
    assert network.classifier.weight.grad is not None


def test_depth_beyond_the_stages_trains_all_of_them() -> None:
    for depth in (None, 99):
        network = network_of("resnet18", unfrozen_depth=depth)
        assert network.backbone.frozen == 0
        assert all(p.requires_grad for p in network.parameters())


def test_freezing_survives_going_to_evaluation_and_back() -> None:
    network = network_of("resnet18", unfrozen_depth=1)
    for mode in (True, False, True):
        network.train(mode)
        norms = {
            name: [m.training for m in stage.modules() if isinstance(m, BATCH_NORM)]
            for name, stage in stages_of(network)
        }
        assert not any(any(norms[name]) for name in ("stem", "layer1", "layer2", "layer3"))
        assert all(norms["layer4"]) == mode


def test_frozen_batch_norm_keeps_every_statistic_of_the_backbone_and_trains_its_weights() -> None:
    network = network_of("dann_cnn", batch_norm="frozen", bottleneck=8)
    network.train()
    before = {k: v.clone() for k, v in network.backbone.state_dict().items() if "running" in k}
    network(images_for("dann_cnn")).sum().backward()
    after = network.backbone.state_dict()
    assert before and all(torch.equal(after[key], value) for key, value in before.items())
    assert all(p.grad is not None for p in network.backbone.parameters())


@pytest.mark.parametrize("treatment", ["joint", "separate", "frozen"])
def test_batch_norm_sees_the_domains_as_its_treatment_says(treatment: str) -> None:
    network = network_of("dann_cnn", batch_norm=treatment, bottleneck=0)
    network.train()
    source, target = images_for("dann_cnn", 4), 1 - images_for("dann_cnn", 4) / 3
    features, _ = network.features_of_both(source, target)
    alone = network.features(source)
    # Only in a joint pass do target images change what the source's features are.
    assert torch.allclose(features, alone, atol=1e-6) == (treatment != "joint")


def test_the_same_seed_builds_the_same_network_whatever_came_before() -> None:
    first = network_of("dann_cnn", seed=3).state_dict()
    torch.rand(7)
    again, other = (network_of("dann_cnn", seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_only_adversarial_methods_have_a_discriminator() -> None:
    heads = {
        method: network_of("dann_cnn", method=method).discriminator is not None
        for method in METHODS
    }
    assert [method for method, has in heads.items() if has] == ["cdan", "cdan_e", "dann", "pada"]


def test_from_scratch_trains_every_stage_whatever_the_depth() -> None:
    assert network_of("dann_cnn", method="from_scratch", unfrozen_depth=1).backbone.frozen == 0
    assert network_of("dann_cnn", method="source_only", unfrozen_depth=1).backbone.frozen == 2


def test_without_a_bottleneck_the_heads_sit_on_the_backbone() -> None:
    network = network_of("dann_cnn", bottleneck=0)
    assert network.classifier.in_features == network.backbone.feature_size


def test_images_are_packed_at_the_largest_native_size() -> None:
    assert largest_native_size(["dann_cnn"]) == CATALOG["dann_cnn"].image_size
    assert largest_native_size(["dann_cnn", "vgg16"]) == CATALOG["vgg16"].image_size


@pytest.mark.parametrize(
    ("name", "channels", "positions"), [("dann_mnist", 48, 7), ("dann_svhn", 128, 7)]
)
def test_the_papers_networks_keep_every_position_at_their_native_size(
    name: str, channels: int, positions: int
) -> None:
    backbone = network_of(name).backbone.eval()
    assert isinstance(backbone, StagedBackbone)
    images = torch.rand(2, 3, CATALOG[name].image_size, CATALOG[name].image_size)
    with torch.no_grad():
        features, maps = backbone(images), backbone.stages(images)
    assert maps.shape == (2, channels, positions, positions)
    assert torch.equal(features, maps.flatten(1))


def test_dann_cnn_averages_over_positions_as_models_written_before_need_it() -> None:
    assert network_of("dann_cnn").backbone.feature_size == 96


HEADS = ("fc", "classifier", "head", "heads")


@pytest.mark.parametrize("name", [n for n in CATALOG if n not in DANN_NETWORKS])
def test_the_catalogues_stages_compute_what_torchvisions_network_does(name: str) -> None:
    torch.manual_seed(5)
    options = {"init_weights": False} if name == "inception_v3" else {}
    whole: nn.Module = torchvision_models.tv.get_model(name, weights=None, **options)
    backbone = torchvision_models.build(name, whole.state_dict()).eval()
    spec = CATALOG[name]
    assert backbone.stage_names == spec.stages
    # Twice the smallest side: maps of several positions, whose mean is taken.
    side = spec.smallest if spec.only_size else 2 * spec.smallest
    images = torch.rand(1, 3, side, side)
    seen: list[torch.Tensor] = []
    head = next(getattr(whole, key) for key in HEADS if hasattr(whole, key))
    whole.eval()
    if name == "inception_v3":
        # Its own forward would rescale ImageNet's normalization; the catalogue's is the rescaled.
        whole.transform_input = False  # type: ignore[assignment]
    with torch.no_grad():
        assert backbone(images_for(name)).shape == (2, backbone.feature_size)
        features = backbone(images)
        if name.startswith(("vgg", "squeezenet")):
            # Their heads are no linear layer on pooled features: compare the maps.
            expected = whole.features(images).mean((2, 3))  # type: ignore[operator]
        else:
            first = next(m for m in head.modules() if isinstance(m, nn.Linear))
            first.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
            whole(images)
            expected = seen[0]
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert features.shape == (1, backbone.feature_size)
    assert features.std() > 0


def test_a_random_network_learns_its_statistics_where_frozen_ones_are_asked_for() -> None:
    moved = {}
    for method in ("source_only", "from_scratch"):
        network = network_of("resnet18", method=method, batch_norm="frozen").train()
        before = network.backbone.state_dict()["stages.stem.1.running_mean"].clone()
        network(images_for("resnet18"))
        after = network.backbone.state_dict()["stages.stem.1.running_mean"]
        moved[method] = not torch.equal(before, after)
    assert moved == {"source_only": False, "from_scratch": True}
