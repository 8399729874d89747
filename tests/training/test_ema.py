"""The moving average of the weights: its formula, and that it is what is validated and kept."""

from pathlib import Path

import torch

from dann_search.models.build import build_network
from dann_search.training.checkpoint import BEST, LAST, load_checkpoint
from dann_search.training.ema import WeightAverage
from tests.training.recipes import recipe, run, tiny_data


def test_the_average_follows_its_formula_and_leaves_when_its_time_is_over() -> None:
    network = build_network(recipe(unfrozen_depth=1), 3)
    average = WeightAverage(network, 0.75)
    weight = network.classifier.weight
    before = weight.detach().clone()
    for steps in (1, 2, 3):
        with torch.no_grad():
            weight.add_(4.0)
        average.update(steps)
    shares = [0.75**2, 0.75, 1.0]
    mean = sum(4.0 * i * share for i, share in enumerate(shares, 1)) / sum(shares)
    with average.applied():
        torch.testing.assert_close(network.classifier.weight.detach(), before + mean)
    torch.testing.assert_close(weight.detach(), before + 12)
    assert not any(name.startswith("backbone.stages.conv1") for name in average.average)


def test_nothing_is_left_of_the_weights_that_training_began_with() -> None:
    network = build_network(recipe(), 3)
    average = WeightAverage(network, 0.999)
    with torch.no_grad():
        network.classifier.weight.fill_(1.0)
    for steps in range(1, 241):
        average.update(steps)
    kept = average.average["classifier.weight"]
    torch.testing.assert_close(kept, torch.ones_like(kept))


def test_the_best_checkpoint_holds_the_average_and_the_last_one_both(tmp_path: Path) -> None:
    run(recipe(epochs=1, ema_decay=0.9), tiny_data(), tmp_path / "trial")
    best, last = (load_checkpoint(tmp_path / "trial" / name) for name in (BEST, LAST))
    assert not best.average and last.average
    for name, value in last.average.items():
        assert torch.equal(best.model[name], value), name
    assert not torch.equal(best.model["classifier.weight"], last.model["classifier.weight"])
