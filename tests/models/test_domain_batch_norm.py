"""Statistics of its own for each domain, the target's where one network is kept."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dann_search.inference.best import weights_of
from dann_search.models.backbone import plain_name
from dann_search.models.build import build_network
from dann_search.models.domain_batch_norm import divide, of_source
from dann_search.models.network import DannNetwork
from dann_search.training.checkpoint import frozen_hash
from dann_search.training.epoch_steps import Batches
from dann_search.training.predict import predict_outputs
from dann_search.training.validation import validation_outputs
from tests.training.recipes import recipe, tiny_data


def domains(side: int = 16) -> tuple[Tensor, Tensor]:
    """Four source images, and four target images that are brighter."""
    images = torch.randn(8, 3, side, side, generator=torch.Generator().manual_seed(0))
    return images[:4], 2 * images[4:] + 3


def network_of(batch_norm: str, method: str = "dann", depth: int | None = None) -> DannNetwork:
    config = recipe(batch_norm=batch_norm, method=method, unfrozen_depth=depth)
    return build_network(config, 3).train()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_each_domain_moves_statistics_of_its_own(momentum: float | None) -> None:
    source, target = domains()
    plain = [nn.BatchNorm2d(3, momentum=momentum) for _ in range(2)]
    both = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum))
    divide(both)
    for _ in range(2):
        with of_source(both):
            assert torch.equal(both(source), plain[0](source))
        assert torch.equal(both(target), plain[1](target))
    both.eval()
    assert torch.equal(both(target), plain[1].eval()(target))
    with of_source(both):
        assert torch.equal(both(source), plain[0].eval()(source))
    assert torch.equal(both(target), plain[1](target))


def test_a_training_is_that_of_separate_and_keeps_other_statistics() -> None:
    source, target = domains()
    networks = [network_of(batch_norm) for batch_norm in ("separate", "domain")]
    for network in networks:
        a, b = network.features_of_both(source, target)
        (a.square().sum() + 2 * b.abs().sum()).backward()  # type: ignore[no-untyped-call]
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)
    separate, divided = (network.state_dict() for network in networks)
    mixed, of_target = separate["bottleneck.1.running_mean"], divided["bottleneck.1.running_mean"]
    means = (of_target, divided["bottleneck.1.source_running_mean"])
    # Momentum 0.1: the source's step, then the target's, against a step of each.
    torch.testing.assert_close(mixed, 0.9 * means[1] + means[0])


def test_frozen_stages_keep_their_statistics_and_released_ones_begin_alike() -> None:
    network = network_of("domain", depth=1)
    frozen = {name: value.clone() for name, value in network.state_dict().items()}
    network.features_of_both(*domains())
    moved = {n for n, value in network.state_dict().items() if not torch.equal(value, frozen[n])}
    last = network.backbone.stage_names[-1]
    assert moved and all(last in name or name.startswith("bottleneck.") for name in moved)
    for layer in network.modules():
        if is_divided(layer) and not layer.training:
            means = (layer.get_buffer(f"{whose}running_mean") for whose in ("", "source_"))
            assert torch.equal(*means)


def test_adabn_keeps_to_the_heads_where_the_backbones_statistics_are_frozen() -> None:
    kinds = {
        method: [
            name
            for name, layer in network_of("frozen", method).named_modules()
            if is_divided(layer)
        ]
        for method in ("adabn", "dann")
    }
    assert kinds == {"adabn": ["bottleneck.1"], "dann": []}
    assert len([*filter(is_divided, network_of("joint", "adabn").modules())]) == 4
    assert not [*filter(is_divided, network_of("domain", "source_only").modules())]


@pytest.mark.parametrize("backbone", ["resnet18", "timm/resnet10t"])
def test_stages_of_any_backbone_know_whose_statistics_are_theirs(backbone: str) -> None:
    config = recipe(backbone=backbone, batch_norm="domain", unfrozen_depth=1)
    network = build_network(config, 3).train()
    frozen = network.backbone.frozen_names
    assert {plain_name(name) for name in frozen} < frozen
    before = frozen_hash(network)
    network.features_of_both(*domains(32))
    assert frozen_hash(network) == before


def is_divided(module: nn.Module) -> bool:
    return "source_running_mean" in dict(module.named_buffers(recurse=False))


def test_what_is_kept_is_a_plain_network_with_the_targets_statistics(tmp_path: Path) -> None:
    network = network_of("domain")
    for _ in range(3):
        network.features_of_both(*domains())
    save_file(weights_of(network), tmp_path / "model.safetensors")
    # As load_model builds it.
    plain = build_network(recipe(batch_norm="domain", method="source_only"), 3, bare=True)
    plain.load_state_dict(load_file(tmp_path / "model.safetensors"))
    images = domains()[1]
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), network.eval()(images))
        with of_source(network):
            assert not torch.equal(plain(images), network(images))


def test_validation_sees_each_domain_by_its_own_statistics() -> None:
    network, data = network_of("domain"), tiny_data()
    for _ in range(3):
        network.features_of_both(*domains())
    batches = Batches(recipe(batch_norm="domain"), data, torch.device("cpu"))
    source, target = validation_outputs(network, batches)
    by_target = predict_outputs(network, batches.seen("source", "val"))
    with of_source(network):
        by_source = predict_outputs(network, batches.seen("source", "val"))
    assert torch.equal(source.features, by_source.features)
    assert not torch.equal(by_source.features, by_target.features)
    alone = predict_outputs(network, batches.seen("target", "val"))
    assert torch.equal(target.logits, alone.logits)
