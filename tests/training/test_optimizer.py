"""Two learning rates, momentum that can be saved."""

import pytest
import torch

from dann_search.models.build import build_network
from dann_search.training.optimizer import Optimizer
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
    groups = [p for group in optimizer.sgd.param_groups for p in group["params"]]
    assert len(groups) == len({id(p) for p in groups}) == len(optimizer.parameters)


def test_momentum_saved_and_loaded_continues_alike() -> None:
    config = recipe(momentum=0.9)

    def stepped(optimizer: Optimizer) -> list[torch.Tensor]:
        for parameter in optimizer.parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.sgd.step()
        return [p.detach().clone() for p in optimizer.parameters]

    first_network, second_network = build_network(config, 3), build_network(config, 3)
    first = Optimizer(first_network, config)
    assert first.momentum_state() == {}
    stepped(first)
    second_network.load_state_dict(first_network.state_dict())
    second = Optimizer(second_network, config)
    second.load_momentum({k: v.clone() for k, v in first.momentum_state().items()})
    for one, other in zip(stepped(first), stepped(second), strict=True):
        assert torch.equal(one, other)
