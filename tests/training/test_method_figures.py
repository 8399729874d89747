"""Each method's loss and gradients against those of tllib's modules on the same numbers.

The figures were computed once with tllib at c4aa59e (tllib.alignment, .normalization and
.self_training) in double precision; none of its code is here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dann_search.config.extensions import METHODS
from dann_search.models.network import DannNetwork
from dann_search.training.adaptation import adaptation_of
from tests.training.recipes import linear_network, recipe

BATCH, SIZE, CLASSES = 6, 5, 3
DOMAINS = torch.tensor([0.0] * BATCH + [1.0] * BATCH, dtype=torch.float64)


@dataclass
class Inputs:
    """Random numbers of one seed; ``along`` is a direction in which gradients are measured."""

    features: Tensor
    classifier: Tensor
    second: Tensor
    discriminator: Tensor
    along: Tensor
    labels: Tensor


def inputs() -> Inputs:
    rng = np.random.RandomState(7)  # its numbers are the same in every version of NumPy

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape))

    features = normal(2 * BATCH, SIZE)
    heads = (2 * normal(CLASSES, SIZE), 2 * normal(CLASSES, SIZE))
    discriminator, along = normal(1, CLASSES * SIZE), normal(2 * BATCH, SIZE)
    labels = torch.from_numpy(rng.randint(0, CLASSES, BATCH))
    return Inputs(features, *heads, discriminator, along, labels)


def network_of(method: str, given: Inputs) -> DannNetwork:
    """One linear layer each, without biases, with the weights given."""
    network = linear_network(method, discriminator_depth=0)
    whole = network.discriminator
    layers: list[tuple[nn.Module | None, Tensor]] = [
        (network.classifier, given.classifier),
        (network.method_module, given.second),
        (whole[0] if isinstance(whole, nn.Sequential) else None, given.discriminator),
    ]
    for layer, weights in layers:
        if layer is not None:
            layer.load_state_dict({"weight": weights, "bias": torch.zeros(len(weights))})
    return network


@dataclass
class Figures:
    """What tllib's module gives.

    Attributes:
        lam: weight of the adaptation.
        loss: value.
        along: gradient in the features, in direction ``along``.
        heads: squared norm of the gradient in the weights of classifier, second classifier and
            discriminator, where there is one.
    """

    lam: float
    loss: float
    along: float
    heads: dict[str, float]


# tllib adds 2 / (n - 1) to the discrepancies of dan and jan, whatever the features: left out here.
TLLIB = {
    "cdan_e": Figures(0.3, 0.808919939, -0.029615804, {"discriminator": 0.132413989}),
    "mdd": Figures(0.3, 12.490298183, 0.868000499, {"method_module": 18.003592366}),
    # Its steps A and B give the heads' gradient, A of the second classifier and C the features'.
    "mcd": Figures(
        1.0, 1.414418348, 1.008812544, {"classifier": 0.003732714, "method_module": 0.716025778}
    ),
    "dan": Figures(0.3, -0.054786881, 0.035652846, {}),
    "jan": Figures(0.3, -0.035478379, 0.082630831, {"classifier": 0.003844308}),
    "afn": Figures(0.3, 0.6, -0.284255387, {}),
    "mcc": Figures(0.3, 0.083053688, -0.096325442, {"classifier": 0.000777143}),
}


def gradients(method: str, given: Inputs, lam: float, **options: Any) -> tuple[float, Tensor, Any]:
    network = network_of(method, given)
    x = given.features.clone().requires_grad_()
    adaptation = adaptation_of(network_recipe(method, **options), given.labels)
    multiple = lam / METHODS[method].trade_off
    terms = adaptation(network, x, network.classifier(x), DOMAINS, multiple, BATCH)
    terms.loss.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return float(terms.loss.detach()), x.grad, network


def network_recipe(method: str, **options: Any) -> Any:
    return recipe(method=method, bottleneck=0, discriminator_depth=0, **options)


@pytest.mark.parametrize("method", TLLIB)
def test_loss_and_gradients_are_tllibs(method: str) -> None:
    expected, given = TLLIB[method], inputs()
    loss, in_features, network = gradients(method, given, expected.lam)
    assert loss == pytest.approx(expected.loss, abs=1e-6)
    assert float((in_features * given.along).sum()) == pytest.approx(expected.along, abs=1e-6)
    found = {
        name.split(".")[0]: float(p.grad.square().sum())
        for name, p in network.named_parameters()
        if name.endswith("weight") and p.grad is not None
    }
    assert found == pytest.approx(expected.heads, abs=1e-6)


def test_a_second_classifier_learns_against_the_features() -> None:
    """Down the loss for the head is up for the features, by lambda, in mdd."""
    given = inputs()
    _, once, network = gradients("mdd", given, 1.0)
    _, tenth, _ = gradients("mdd", given, 0.1)
    torch.testing.assert_close(tenth, 0.1 * once)
    second = network.method_module
    x = given.features.clone().requires_grad_()
    # The same loss without a reversal, written down here.
    answers, logits = network.classifier(x).argmax(1), second(x)
    own = logits.softmax(1)[range(2 * BATCH), answers]
    loss = -4 * own[:BATCH].log().mean() - (1 - own[BATCH:] + 1e-6).log().mean()
    loss.backward()
    assert x.grad is not None
    torch.testing.assert_close(once, -x.grad)


def test_the_margin_of_mdd_counts_source_images() -> None:
    given = inputs()
    losses = [gradients("mdd", given, 1.0, mdd_margin=float(g))[0] for g in (1, 2, 3)]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0])
    assert losses[1] > losses[0]


def test_afn_wants_each_feature_longer_by_its_step() -> None:
    given = inputs()
    _, gradient, _ = gradients("afn", given, 1.0, afn_delta=0.5)
    directions = given.features / given.features.norm(dim=1, keepdim=True)
    torch.testing.assert_close(gradient, -2 * 0.5 * directions / BATCH)


@pytest.mark.parametrize("method", ["dan", "jan"])
def test_discrepancies_are_smaller_where_the_domains_are_alike(method: str) -> None:
    given = inputs()
    half = given.features[:BATCH]
    losses = []
    for shift in (0.0, 1.0, 3.0):
        given.features = torch.cat([half, half.flip(0) + shift])
        losses.append(gradients(method, given, 1.0)[0])
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("method", ["afn", "dan", "jan", "mcd", "mdd", "cdan_e"])
def test_features_that_are_all_zero_have_finite_gradients(method: str) -> None:
    given = inputs()
    given.features = torch.zeros_like(given.features)
    loss, gradient, _ = gradients(method, given, 1.0)
    assert np.isfinite(loss) and bool(gradient.isfinite().all())
