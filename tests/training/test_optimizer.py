"""Two learning rates, momentum that can be saved."""

import pytest
import torch

from dann_search.models.build import build_network
from dann_search.training.optimizer import Optimizer
from dann_search.training.ranks import ALONE
from tests.training.recipes import recipe


def test_heads_learn_faster_by_their_factor_and_both_follow_the_schedule() -> None:
    config = recipe(learning_rate=0.1, head_lr_factor=7.0, lr_schedule="ganin")
    optimizer = Optimizer(build_network(config, 3), config)
    for p in (0.0, 0.5):
        optimizer.set_progress(p)
        factor = (1 + 10 * p) ** -0.75
        assert optimizer.rates == pytest.approx((0.1 * factor, 0.7 * factor))


def test_frozen_stages_are_not_optimized_and_no_parameter_twice() -> None:
    config = recipe(unfrozen_depth=0)
    network = build_network(config, 3)
    optimizer = Optimizer(network, config)
    assert not any(name.startswith("backbone.") for name in optimizer.named)
    groups = [p for group in optimizer.torch.param_groups for p in group["params"]]
    assert len(groups) == len({id(p) for p in groups}) == len(optimizer.parameters)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_momentum_saved_and_loaded_continues_alike(kind: str) -> None:
    config = recipe(momentum=0.9, optimizer=kind)

    def stepped(optimizer: Optimizer) -> list[torch.Tensor]:
        for parameter in optimizer.parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        return [p.detach().clone() for p in optimizer.parameters]

    first_network, second_network = build_network(config, 3), build_network(config, 3)
    first = Optimizer(first_network, config)
    assert first.state() == {}
    stepped(first)
    second_network.load_state_dict(first_network.state_dict())
    second = Optimizer(second_network, config)
    second.load_state({k: v.clone() for k, v in first.state().items()})
    for one, other in zip(stepped(first), stepped(second), strict=True):
        assert torch.equal(one, other)


def test_each_stage_learns_slower_than_the_one_above() -> None:
    config = recipe(learning_rate=0.1, stage_lr_decay=0.5, head_lr_factor=2.0)
    network = build_network(config, 3)
    optimizer = Optimizer(network, config)
    rates = {id(p): g["lr"] for g in optimizer.torch.param_groups for p in g["params"]}
    expected = {"conv1": 0.025, "conv2": 0.05, "conv3": 0.1}
    for name, parameter in network.named_parameters():
        stage = name.split(".")[2] if name.startswith("backbone.") else ""
        assert rates[id(parameter)] == pytest.approx(expected.get(stage, 0.2)), name
    assert optimizer.rates == pytest.approx((0.1, 0.2))


def test_a_gradient_is_clipped_to_the_largest_norm() -> None:
    config = recipe(gradient_clipping=0.5, learning_rate=1.0, head_lr_factor=1.0, momentum=0.0,
                    weight_decay=0.0)  # fmt: skip
    network = build_network(config, 3)
    optimizer = Optimizer(network, config)
    before = [p.detach().clone() for p in optimizer.parameters]
    for parameter in optimizer.parameters:
        parameter.grad = torch.full_like(parameter, 3.0)
    optimizer.step()
    moved = [a - b.detach() for a, b in zip(before, optimizer.parameters, strict=True)]
    assert float(torch.cat([m.flatten() for m in moved]).norm()) == pytest.approx(0.5, rel=1e-3)


def test_held_stages_are_left_alone_by_weight_decay() -> None:
    config = recipe(weight_decay=0.1)
    network = build_network(config, 3)
    optimizer = Optimizer(network, config)
    network.backbone.hold_below(0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    network.train()
    network(torch.rand(4, 3, 16, 16)).sum().backward()
    ALONE.sum_gradients(optimizer.parameters)
    optimizer.step()
    for name, parameter in network.named_parameters():
        held = name.startswith(("backbone.", "discriminator."))
        assert torch.equal(parameter, before[name]) == held, name


def total_of(optimizer: Optimizer) -> torch.Tensor:
    return torch.stack([p.sum() for p in optimizer.parameters]).sum()


def test_the_scale_of_fp16_cancels_in_a_step_and_clipping_sees_true_gradients() -> None:
    moved = {}
    for precision in ("fp32", "fp16"):
        config = recipe(precision=precision, gradient_clipping=0.5, weight_decay=0.0)
        network = build_network(config, 3)
        optimizer = Optimizer(network, config)
        before = [p.detach().clone() for p in optimizer.parameters]
        optimizer.backward(total_of(optimizer))
        optimizer.step()
        moved[precision] = [
            p.detach() - old for p, old in zip(optimizer.parameters, before, strict=True)
        ]
    for plain, scaled in zip(moved["fp32"], moved["fp16"], strict=True):
        assert plain.abs().max() > 0
        assert torch.allclose(plain, scaled, rtol=1e-6, atol=1e-9)


def test_a_step_of_fp16_that_overflows_is_left_out_and_the_smaller_scale_is_saved() -> None:
    config = recipe(precision="fp16")
    network = build_network(config, 3)
    optimizer = Optimizer(network, config)
    before = [p.detach().clone() for p in optimizer.parameters]
    optimizer.backward(total_of(optimizer) * 1e35)
    optimizer.step()
    for parameter, old in zip(optimizer.parameters, before, strict=True):
        assert torch.equal(parameter, old)
    other = Optimizer(build_network(config, 3), config)
    other.load_state(optimizer.state())
    assert other.scaler.get_scale() == optimizer.scaler.get_scale() == 2.0**15


def test_a_first_step_of_fp16_that_overflows_leaves_no_chance_values_as_momentum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What uninitialized memory may hold.
    monkeypatch.setattr(torch, "empty_like", lambda like: torch.full_like(like, torch.nan))
    moved = {}
    for precision in ("fp32", "fp16"):
        config = recipe(precision=precision)
        optimizer = Optimizer(build_network(config, 3), config)
        if precision == "fp16":
            optimizer.backward(total_of(optimizer) * 1e35)
            optimizer.step()
        for _ in range(2):
            optimizer.backward(total_of(optimizer))
            optimizer.step()
        moved[precision] = [parameter.detach() for parameter in optimizer.parameters]
    for plain, scaled in zip(moved["fp32"], moved["fp16"], strict=True):
        torch.testing.assert_close(scaled, plain, rtol=1e-6, atol=1e-9)
