"""Minimax entropy and FixMatch against values computed by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dann_search.config.trial import possible_extras
from dann_search.models.network import DannNetwork
from dann_search.training.adaptation import adaptation_of
from dann_search.training.methods import fixmatch
from dann_search.training.methods.terms import Terms
from tests.training.recipes import linear_network, recipe

DOMAINS = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def mme_network(weight: Tensor) -> DannNetwork:
    network = linear_network("mme", classes=len(weight))
    network.classifier.weight = nn.Parameter(weight)
    return network


def mme_loss(network: DannNetwork, features: Tensor, lam: float) -> Tensor:
    adaptation = adaptation_of(recipe(method="mme", bottleneck=0), LABELS)
    return adaptation(network, features, network.classifier(features), DOMAINS, lam, 2).loss


def test_mme_is_minus_lambda_times_the_mean_entropy() -> None:
    # Logits by the cosine over 0.05: (1, 0) whatever the length, and (0.6, 0.8).
    network = mme_network(0.05 * torch.eye(2, dtype=torch.float64))
    features = torch.tensor([[9.0, 0], [0, 9], [7, 0], [3, 4]], dtype=torch.float64)
    logits = network.classifier(features)
    torch.testing.assert_close(logits[2:], torch.tensor([[1.0, 0], [0.6, 0.8]]).double())

    def entropy(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    sure, unsure = (entropy(1 / (1 + math.exp(-gap))) for gap in (1.0, 0.2))
    assert sure == pytest.approx(0.582203, abs=1e-6)
    found = float(mme_loss(network, features, 1.0).detach())
    # 1e-5 within the logarithm, as in the authors' code, is worth 2e-5 here.
    assert found == pytest.approx(-0.1 * (sure + unsure) / 2, abs=1e-5)


def test_mme_moves_classifier_and_features_in_opposite_directions() -> None:
    torch.manual_seed(0)
    network = mme_network(torch.randn(3, 5, dtype=torch.float64))
    features = torch.randn(4, 5, dtype=torch.float64).requires_grad_()
    mme_loss(network, features, 3.0).backward()  # type: ignore[no-untyped-call]
    reversed_, head = features.grad, network.classifier.weight.grad
    plain = features.detach().clone().requires_grad_()
    weight = network.classifier.weight.detach().clone().requires_grad_()
    p = (nn.functional.normalize(plain[2:]) @ weight.T / 0.05).softmax(1)
    entropy = -(p * (p + 1e-5).log()).sum(1).mean()
    (-0.3 * entropy).backward()  # type: ignore[no-untyped-call]
    assert reversed_ is not None and plain.grad is not None
    # Down its loss the head raises the entropy, and the features lower it.
    torch.testing.assert_close(head, weight.grad)
    torch.testing.assert_close(reversed_, -plain.grad)
    assert (reversed_[:2] == 0).all()  # of source images nothing is asked


def test_fixmatch_learns_strong_views_by_the_sure_predictions_alone() -> None:
    logits = torch.tensor([[9.0, 0], [0, 9], [3, 0], [1, 0]], dtype=torch.float64)
    logits.requires_grad_()
    strong = torch.tensor([[0.0, 2], [5, 0]], dtype=torch.float64, requires_grad=True)
    config = recipe(method="fixmatch", fixmatch_threshold=0.95)
    adaptation: Callable[..., Terms] = adaptation_of(config, LABELS)
    network = linear_network("fixmatch", classes=2)
    images = (network, logits, logits, DOMAINS)
    loss = adaptation(*images, 0.5, 2, strong=strong).loss
    # Probabilities 0.9526 and 0.7311: the second image does not count, but in the divisor.
    assert float(loss.detach()) == pytest.approx(0.5 * math.log(1 + math.exp(2)) / 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is None  # the label comes without a gradient
    assert strong.grad is not None and (strong.grad[1] == 0).all()
    lower = fixmatch.loss(*images, 0.5, 2, 0.7, strong)
    assert float(lower.loss.detach()) == pytest.approx(
        0.25 * (math.log(1 + math.exp(2)) + math.log(1 + math.exp(-5)))
    )


def test_neither_can_be_an_extra_term() -> None:
    assert not {"mme", "fixmatch"} & set(possible_extras())
