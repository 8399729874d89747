"""One step of DANN, by hand on a linear network."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dann_search.config.trial import adapting
from dann_search.models.network import DannNetwork
from dann_search.training.adaptation import adaptation_of
from dann_search.training.methods import dann, mcc
from dann_search.training.precision import autocast
from dann_search.training.step import Step, step_loss
from tests.training.recipes import linear_network, recipe

CLASSES, BATCH = 3, 4
LABELS = torch.tensor([0, 1, 2, 0])


def small_network() -> DannNetwork:
    """With one linear layer as discriminator."""
    network = linear_network()
    network.discriminator = nn.Linear(5, 1).double()
    return network


def batch(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, 3, 1, 1, generator=generator, dtype=torch.float64)


STEP = Step(source=batch(1), labels=LABELS, target=batch(2))


def gradients(network: DannNetwork, lam: float) -> tuple[dict[str, Tensor], Tensor]:
    network.zero_grad()
    loss, parts = step_loss(network, STEP, dann.loss, lam, BATCH)
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}, (
        parts
    )


def by_hand(network: DannNetwork) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of label loss and domain loss in W, and of the domain loss in the discriminator.

    Cross-entropy's gradient in the logits is (softmax - onehot) / n, the binary one's
    (sigmoid - domain) / n.
    """
    source, target = batch(1).flatten(1), batch(2).flatten(1)
    weight = network.state_dict()["backbone.stages.only.weight"].flatten(1)
    classifier, discriminator = network.classifier, network.discriminator
    assert isinstance(discriminator, nn.Linear)
    onehot = nn.functional.one_hot(LABELS, CLASSES).double()
    in_logits = (classifier(source @ weight.T).softmax(1) - onehot) / BATCH
    label = (in_logits @ classifier.weight).T @ source
    both = torch.cat([source, target])
    domains = torch.cat([torch.zeros(BATCH, 1), torch.ones(BATCH, 1)]).double()
    in_domain = (discriminator(both @ weight.T).sigmoid() - domains) / (2 * BATCH)
    domain = (in_domain @ discriminator.weight).T @ both
    return label, domain, in_domain.T @ (both @ weight.T)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_the_discriminator_learns_and_features_get_minus_lambda_times_its_gradient(
    lam: float,
) -> None:
    network = small_network()
    found, _ = gradients(network, lam)
    with torch.no_grad():
        label, domain, discriminator = by_hand(network)
    feature_gradient = found["backbone.stages.only.weight"].flatten(1)
    torch.testing.assert_close(feature_gradient, label - lam * domain)
    torch.testing.assert_close(found["discriminator.weight"], discriminator)


def test_reported_parts_are_the_two_losses_and_the_share_of_right_domains() -> None:
    network = small_network()
    _, parts = gradients(network, 0.5)
    with torch.no_grad():
        source, target = network.features(batch(1)), network.features(batch(2))
        label = nn.functional.cross_entropy(network.classifier(source), LABELS)
        logits = network.domain_logits(torch.cat([source, target]), 0.5)
        domains = torch.tensor([0.0] * BATCH + [1.0] * BATCH).double()
        domain = nn.functional.binary_cross_entropy_with_logits(logits, domains)
        right = ((logits > 0).double() == domains).double().mean()
    torch.testing.assert_close(parts, torch.stack([label, domain, right, 0 * right]))


def test_shares_of_workers_add_up_to_the_whole_batch() -> None:
    network = small_network()
    whole, parts = step_loss(network, STEP, dann.loss, 0.4, BATCH)
    shares = []
    for rows in (slice(0, 1), slice(1, 4)):
        mine = Step(source=batch(1)[rows], labels=LABELS[rows], target=batch(2)[rows])
        shares.append(step_loss(network, mine, dann.loss, 0.4, BATCH))
    torch.testing.assert_close(shares[0][0] + shares[1][0], whole)
    torch.testing.assert_close(shares[0][1] + shares[1][1], parts)


def test_source_loss_is_the_cross_entropy_of_the_source_alone() -> None:
    network = small_network()
    loss, parts = step_loss(network, replace(STEP, target=None), dann.loss, 0.4, BATCH)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(network(batch(1)), LABELS))
    assert parts[1:].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("method", [*adapting(), "dann and its options"])
def test_a_method_computes_in_fp32_whatever_the_recipes_precision(method: str) -> None:
    more = {"extra": "deep_coral", "discriminator_gradient_penalty": 1.0}
    options: dict[str, Any] = more if " " in method else {"method": method}
    config = recipe(bottleneck=0, **options)
    images = [400 * batch(seed).float() for seed in (1, 2)]
    losses = list[float]()
    for precision in ("fp32", "fp16"):
        network = linear_network(**options).float()
        with autocast(torch.device("cpu"), precision):
            strong = images[1] / 2 if config.strong_views else None
            step = Step(source=images[0], labels=LABELS, target=images[1], strong=strong)
            _, parts = step_loss(network, step, adaptation_of(config, LABELS), 1.0, BATCH)
        losses.append(float(parts[1] + parts[3]))
    # Features of some hundreds: their squares are beyond fp16's 65,504.
    assert losses[1] == pytest.approx(losses[0], rel=0.02, abs=0.01)


def test_a_class_that_no_image_can_be_of_is_confused_with_no_other() -> None:
    logits = torch.tensor([[3.0, -500.0, 0.0], [0.0, -500.0, 3.0]], requires_grad=True)
    confusion = mcc.class_confusion(logits.softmax(1))
    two = mcc.class_confusion(logits[:, [0, 2]].softmax(1))
    assert float(confusion.detach()) == pytest.approx(float(two.detach()) * 2 / 3)
    confusion.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
