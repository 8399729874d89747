"""A second term, and the options of the domain discriminator."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from dann_search.config.trial import TrialConfig, adapting, possible_extras
from dann_search.models.build import build_network
from dann_search.models.discriminator import build_discriminator
from dann_search.models.network import DannNetwork
from dann_search.training.adaptation import adaptation_of, gradient_penalty
from dann_search.training.methods.terms import Terms
from dann_search.training.optimizer import Optimizer
from tests.training.recipes import metrics, recipe, run, tiny_data

BATCH = 6
DOMAINS = torch.tensor([0.0] * BATCH + [1.0] * BATCH)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def terms_of(config: TrialConfig, network: DannNetwork | None = None, lam: float = 0.5) -> Terms:
    network = network or build_network(config, 3)
    return adaptation_of(config, LABELS)(
        network, x := features(), network.classifier(x), DOMAINS, lam, BATCH
    )


def features() -> Tensor:
    return torch.randn(2 * BATCH, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("extra", possible_extras())
def test_an_extra_term_is_added_with_its_weight(extra: str) -> None:
    both = recipe(method="dann", extra=extra, extra_weight=0.2)
    network = build_network(both, 3)
    found = terms_of(both, network)
    assert found.further is not None
    assert torch.equal(found.loss, terms_of(recipe(method="dann"), network).loss)
    alone = terms_of(recipe(method=extra), network, lam=0.2 * 0.5)
    torch.testing.assert_close(found.further, alone.loss)


def test_whatever_needs_no_network_of_its_own_may_be_an_extra_term() -> None:
    assert set(possible_extras()) >= {"afn", "dan", "deep_coral", "jan", "mcc"}
    assert set(possible_extras()) <= set(adapting())
    for other in ("dann", "cdan_e", "mdd", "mcd", "source_only"):
        with pytest.raises(ValidationError, match="unknown value"):
            recipe(extra=other)


def test_an_extra_term_and_a_penalty_are_shown_apart_from_the_discriminators_loss(
    tmp_path: Path,
) -> None:
    def last(**changes: Any) -> Any:
        name = "-".join(changes) or "plain"
        return run(recipe(epochs=1, **changes), tiny_data(), tmp_path / name)[-1]

    assert last().adaptation_loss is None
    for changes in ({"extra": "mcc"}, {"discriminator_gradient_penalty": 1.0}):
        shown = last(**changes)
        assert shown.adaptation_loss > 0
        assert shown.domain_loss == pytest.approx(0.69, abs=0.3)
    # Both terms of a method without a discriminator are one figure.
    alone = last(method="deep_coral")
    assert last(method="deep_coral", extra="mcc").adaptation_loss > alone.adaptation_loss


def test_a_baseline_without_adaptation_has_no_extra_term(tmp_path: Path) -> None:
    plain = run(recipe(method="source_only"), tiny_data(), tmp_path / "plain")
    extra = run(recipe(method="source_only", extra="mcc"), tiny_data(), tmp_path / "extra")
    assert metrics(extra) == metrics(plain)


def test_the_gradient_penalty_is_its_formula_and_moves_the_discriminator_alone() -> None:
    config = recipe(discriminator_gradient_penalty=3.0, discriminator_depth=0, method="dann")
    network = build_network(config, 3)
    assert network.discriminator is not None
    weight = network.discriminator[0].weight  # type: ignore[index]
    x = features().requires_grad_()
    found = adaptation_of(config, LABELS)(network, x, network.classifier(x), DOMAINS, 0.5, BATCH)
    # The gradient of a linear discriminator is its weight, at every image.
    assert found.further is not None
    torch.testing.assert_close(found.further, 3.0 * weight.square().sum() / 2)
    found.further.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(weight.grad, 3.0 * weight)
    assert x.grad is None


def test_the_penalty_of_two_workers_adds_up() -> None:
    discriminator = build_discriminator(8, 4, 1, 0.0)
    x = features()
    whole = gradient_penalty(discriminator, x, BATCH)
    halves = [gradient_penalty(discriminator, part, BATCH) for part in (x[:5], x[5:])]
    torch.testing.assert_close(halves[0] + halves[1], whole)


def test_the_penalty_looks_at_what_a_conditioned_discriminator_sees() -> None:
    found = terms_of(recipe(method="cdan", discriminator_gradient_penalty=1.0))
    assert found.further is not None and float(found.further.detach()) > 0


def test_a_discriminator_has_the_norm_asked_for() -> None:
    kinds = [type(layer) for layer in build_discriminator(8, 4, 2, 0.1, "batch")]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert kinds == [*hidden, *hidden, nn.Linear]
    torch.manual_seed(0)
    spectral = build_discriminator(8, 4, 1, 0.0, "spectral")
    for _ in range(50):  # one step of the power iteration each
        spectral(features())
    for layer in (spectral[0], spectral[-1]):
        assert isinstance(layer, nn.Linear)
        largest = torch.linalg.svdvals(layer.weight.detach())[0]
        assert float(largest) == pytest.approx(1, abs=1e-3)


def test_options_that_are_neutral_leave_the_discriminator_as_it_was() -> None:
    plain = build_discriminator(8, 4, 1, 0.0, "none").state_dict()
    assert list(plain) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_a_discriminator_learns_at_its_own_rate() -> None:
    config = recipe(learning_rate=0.1, head_lr_factor=2.0, discriminator_lr_factor=5.0)
    network = build_network(config, 3)
    optimizer = Optimizer(network, config)
    rates = {id(p): g["lr"] for g in optimizer.torch.param_groups for p in g["params"]}
    for name, parameter in network.named_parameters():
        expected = {"backbone": 0.1, "discriminator": 1.0}.get(name.split(".")[0], 0.2)
        assert rates[id(parameter)] == pytest.approx(expected), name
    assert optimizer.rates == pytest.approx((0.1, 0.2))


class Moved:
    """Features moved by a method's term alone; an adversary, if any, has learnt before.

    Attributes:
        start, end: features before and after, (n, size).
        losses: the term before the adversary learnt, after it, and with the features moved.
    """

    def __init__(self, method: str, **changes: Any):
        config = recipe(method=method, **changes)
        self.network = build_network(config, 3)
        self.adaptation = adaptation_of(config, LABELS)
        self.start = features() + DOMAINS[:, None]
        adversary = self.network.method_module or self.network.discriminator
        self.losses = [self.loss(self.start)]
        if adversary:
            self.descend(list(adversary.parameters()), self.start)
        self.losses.append(self.loss(self.start))
        self.end = self.start.clone().requires_grad_()
        self.descend([self.end], self.end)
        self.end = self.end.detach()
        self.losses.append(self.loss(self.end))

    def descend(self, parameters: list[Any], at: Tensor) -> None:
        optimizer = torch.optim.Adam(parameters, 0.02)
        for _ in range(60):
            optimizer.zero_grad()
            self.terms(at).loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def terms(self, at: Tensor) -> Terms:
        logits = self.network.classifier(at)
        return self.adaptation(self.network, at, logits, DOMAINS, 1.0, BATCH)

    def loss(self, at: Tensor) -> float:
        return float(self.terms(at).loss.detach())

    def difference(self, at: Tensor) -> float:
        """Between the two classifiers' probabilities on the target."""
        heads = (self.network.classifier, self.network.method_module)
        first, second = (head(at[BATCH:]).softmax(1) for head in heads if head)
        return float((first - second).abs().mean().detach())


@pytest.mark.parametrize("method", ["dann", "cdan", "cdan_e", "mdd"])
def test_features_go_up_the_loss_that_the_adversary_went_down(method: str) -> None:
    first, learnt, after = Moved(method).losses
    assert learnt < first - 0.1 and after > learnt + 0.1


@pytest.mark.parametrize("method", ["dan", "jan", "deep_coral", "mcc"])
def test_features_go_down_a_discrepancy(method: str) -> None:
    _, before, after = Moved(method).losses
    assert after < before


def test_features_of_mcd_make_its_classifiers_agree() -> None:
    moved = Moved("mcd")
    assert moved.losses[1] < moved.losses[0]
    assert moved.difference(moved.end) < 0.7 * moved.difference(moved.start)


def test_features_of_afn_grow_longer() -> None:
    moved = Moved("afn")
    assert moved.losses[2] == pytest.approx(moved.losses[0])
    assert (moved.end.norm(dim=1) > moved.start.norm(dim=1) + 0.5).all()


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_a_normalized_discriminator_learns_and_is_misled(norm: str) -> None:
    first, learnt, after = Moved("dann", discriminator_norm=norm).losses
    assert learnt < first and after > learnt
