"""Each adaptation method against its formula, on a linear network in double precision."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dann_search.config.extensions import METHODS, MethodSpec
from dann_search.config.trial import adapting, weighed
from dann_search.models.discriminator import LARGEST_PRODUCT, MultilinearMap, build_discriminator
from dann_search.models.network import DannNetwork
from dann_search.training.adaptation import adaptation_of
from dann_search.training.checkpoint import LAST, load_checkpoint
from dann_search.training.methods import cdan, deep_coral, mcc
from dann_search.training.methods.deep_coral import covariance
from dann_search.training.methods.mcc import TEMPERATURE, class_confusion
from dann_search.training.methods.terms import Terms
from tests.training.recipes import linear_network, recipe, run, tiny_data

CLASSES, SIZE, BATCH = 3, 5, 6
DOMAINS = torch.tensor([0.0] * BATCH + [1.0] * BATCH, dtype=torch.float64)
LABELS = torch.arange(BATCH) % CLASSES


def features() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2 * BATCH, SIZE, generator=generator, dtype=torch.float64)


def test_cdan_shows_the_discriminator_every_product_of_feature_and_probability() -> None:
    network = linear_network("cdan")
    x = features().requires_grad_()
    logits = network.classifier(x)
    terms = cdan.loss(network, x, logits, DOMAINS, 1.0, BATCH)
    with torch.no_grad():
        probabilities = logits.softmax(1).numpy()
        rows = [np.outer(p, f).ravel() for p, f in zip(probabilities, x.numpy(), strict=True)]
        assert network.discriminator is not None
        answers = network.discriminator(torch.from_numpy(np.stack(rows))).squeeze(1)
        expected = nn.functional.binary_cross_entropy_with_logits(answers, DOMAINS)
        right = ((answers > 0) == (DOMAINS > 0)).double().mean()
    torch.testing.assert_close(terms.loss, expected)
    assert terms.right is not None and float(terms.right) == pytest.approx(float(right))
    terms.loss.backward()  # type: ignore[no-untyped-call]
    assert network.classifier.weight.grad is None  # probabilities are conditions, not levers


def test_cdans_gradient_in_the_features_is_reversed_by_lambda() -> None:
    network = linear_network("cdan")
    logits = network.classifier(features()).detach()
    found = []
    for lam in (1.0, 0.25):
        x = features().requires_grad_()
        cdan.loss(network, x, logits, DOMAINS, lam, BATCH).loss.backward()  # type: ignore[no-untyped-call]
        found.append(x.grad)
    torch.testing.assert_close(found[1], 0.25 * found[0])  # type: ignore[operator]


def test_a_long_multilinear_map_is_randomized_and_keeps_inner_products() -> None:
    torch.manual_seed(0)
    size, classes = 512, 12
    assert size * classes > LARGEST_PRODUCT
    whole, short = MultilinearMap(8, classes), MultilinearMap(size, classes)
    assert not whole.randomized and whole.output_size == 8 * classes
    assert short.randomized and short.output_size == 1024
    f = torch.randn(2, size) + 1
    g = torch.rand(2, classes).softmax(1)
    mapped = short(f, g)
    expected = (f[0] @ f[1]) * (g[0] @ g[1])
    # The randomized map's inner product estimates that of the whole one (theorem 1).
    assert float(mapped[0] @ mapped[1]) == pytest.approx(float(expected), rel=0.5)


def by_hand(probabilities: np.ndarray[Any, Any]) -> float:
    """Class confusion as the paper's equations 3 to 6 say, in loops."""
    n, classes = probabilities.shape
    entropy = [-sum(p * math.log(p) for p in row if p > 0) for row in probabilities]
    raw = [1 + math.exp(-h) for h in entropy]
    weights = [n * w / sum(raw) for w in raw]
    confusion = np.zeros((classes, classes))
    for i in range(n):
        confusion += weights[i] * np.outer(probabilities[i], probabilities[i])
    confusion /= confusion.sum(1, keepdims=True)
    return float((confusion.sum() - np.trace(confusion)) / classes)


@given(seed=st.integers(0, 1000), sharpness=st.floats(0.1, 20))
def test_class_confusion_is_the_papers(seed: int, sharpness: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(7, 4)) * sharpness
    probabilities = torch.from_numpy(logits).softmax(1)
    found = float(class_confusion(probabilities))
    assert found == pytest.approx(by_hand(probabilities.numpy()), abs=1e-8)
    assert -1e-9 <= found <= 1 - 1 / 4 + 1e-9


def test_certain_predictions_of_all_classes_are_not_confused() -> None:
    assert float(class_confusion(torch.eye(4, dtype=torch.float64))) == pytest.approx(0, abs=1e-9)


def test_mcc_uses_target_logits_alone_at_the_papers_temperature() -> None:
    network = linear_network("mcc")
    logits = network.classifier(features())
    expected = by_hand((logits[BATCH:] / TEMPERATURE).softmax(1).detach().numpy())
    other = torch.cat([logits[:BATCH] * 3, logits[BATCH:]])
    for given_logits in (logits, other):
        terms = mcc.loss(network, features(), given_logits, DOMAINS, 0.5, BATCH)
        assert float(terms.loss.detach()) == pytest.approx(0.5 * expected)


@given(seed=st.integers(0, 1000))
def test_covariance_is_numpys(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(6, 4))
    found = covariance(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.cov(x, rowvar=False), atol=1e-12)


def test_deep_coral_is_the_distance_of_the_covariances() -> None:
    network, x = linear_network("deep_coral"), features()
    source, target = (np.cov(part.numpy(), rowvar=False) for part in (x[:BATCH], x[BATCH:]))
    expected = ((source - target) ** 2).sum() / (4 * SIZE**2)
    terms = deep_coral.loss(network, x, network.classifier(x), DOMAINS, 0.5, BATCH)
    assert float(terms.loss) == pytest.approx(0.5 * expected)
    same = torch.cat([x[:BATCH], x[:BATCH] + 7])
    terms = deep_coral.loss(network, same, network.classifier(same), DOMAINS, 0.5, BATCH)
    assert float(terms.loss) == pytest.approx(0, abs=1e-12)  # a shift of the mean is not seen


def terms_of(
    method: str, network: DannNetwork, x: Tensor, lam: float, rows: slice, n: int
) -> Terms:
    """A method's terms on some rows of each domain, of ``n`` images a domain in all."""
    part = torch.cat([x[:BATCH][rows], x[BATCH:][rows]])
    domains = torch.cat([DOMAINS[:BATCH][rows], DOMAINS[BATCH:][rows]])
    config = recipe(method=method, bottleneck=0, fixmatch_threshold=0.0)
    logits = network.classifier(part)
    views = {"strong": logits[domains > 0] / 2} if config.strong_views else {}
    adaptation: Callable[..., Terms] = adaptation_of(config, LABELS[rows])
    return adaptation(network, part, logits, domains, lam, n, **views)


@pytest.mark.parametrize("method", weighed())
def test_without_lambda_no_method_moves_the_features_or_the_classifier(method: str) -> None:
    network, x = linear_network(method), features().requires_grad_()
    terms_of(method, network, x, 0.0, slice(BATCH), BATCH).loss.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and not x.grad.any()
    own = network.classifier.weight.grad
    assert own is None or not own.any()


# The class weights of pada move with every call.
@pytest.mark.parametrize("method", [name for name in adapting() if name != "pada"])
def test_a_workers_loss_is_its_own_mean_weighted_by_its_share(method: str) -> None:
    network, x, lam = linear_network(method), features(), 0.5
    first, second = slice(0, 2), slice(2, BATCH)
    shares = [terms_of(method, network, x, lam, rows, BATCH).loss for rows in (first, second)]
    alone = [
        terms_of(method, network, x, lam, rows, n).loss for rows, n in ((first, 2), (second, 4))
    ]
    torch.testing.assert_close(sum(shares), (2 * alone[0] + 4 * alone[1]) / BATCH)
    if method in ("afn", "cdan", "dann", "fixmatch", "mcd", "mdd", "mme"):  # sums over images
        whole = terms_of(method, network, x, lam, slice(BATCH), BATCH).loss
        torch.testing.assert_close(sum(shares), whole)


@pytest.mark.parametrize(("depth", "layers"), [(0, 1), (1, 3), (3, 7)])
def test_a_discriminator_has_the_hidden_layers_asked_for(depth: int, layers: int) -> None:
    assert len(build_discriminator(5, 8, depth, 0.0)) == layers
    dropped = build_discriminator(5, 8, depth, 0.5)
    assert sum(isinstance(m, nn.Dropout) for m in dropped) == depth
    assert dropped(torch.rand(2, 5)).shape == (2, 1)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_an_easy_problem_at_its_own_trade_off(
    method: str, tmp_path: Path
) -> None:
    """Under one weight for all, as 1, `mdd` fits not even the source: its label loss stays at 0.4.

    On real digits it then ends below chance, 0.05 of macro-F1 instead of 0.58.
    """
    data = tiny_data()
    easy = replace(data, target_images=255 - data.target_images, val_images=255 - data.val_images)
    easy_recipe = recipe(method=method, epochs=8, bottleneck=32, learning_rate=0.005)
    last = run(easy_recipe, easy, tmp_path)[-1]
    assert last.label_loss < 0.2
    assert last.f1_macro_val is not None and last.f1_macro_val > 0.9


def test_lambda_counts_in_multiples_of_the_published_trade_off() -> None:
    assert {
        name: METHODS[name].trade_off for name in weighed() if METHODS[name].trade_off != 1
    } == {
        "afn": 0.05,  # tllib, examples/domain_adaptation/image_classification/afn.py
        "mme": 0.1,  # Saito et al. 2019, section 4.1
        "mdd": 0.1,  # Zhang et al. 2019, section 6.1: lambda rises to 0.1
    }
    network, x = linear_network("afn"), features()
    rows = slice(BATCH)
    whole = terms_of("afn", network, x, 1.0, rows, BATCH).loss
    published = METHODS.code("afn")(
        network, x, network.classifier(x), DOMAINS, 0.05, BATCH, afn_delta=1.0
    )
    torch.testing.assert_close(whole, published.loss)
    extra = adaptation_of(recipe(method="dann", extra="afn", bottleneck=0), LABELS)
    both = extra(linear_network("dann"), x, network.classifier(x), DOMAINS, 1.0, BATCH)
    assert both.further is not None
    torch.testing.assert_close(both.further, whole)


def test_a_trade_off_is_above_zero() -> None:
    with pytest.raises(ValueError, match="odd: trade_off must be above 0, got 0"):
        MethodSpec(name="odd", words="w", term="t", source="s", trade_off=0)


def test_pada_weighs_source_images_by_the_predictions_of_target_images() -> None:
    """Equations 3 and 5 of Cao et al. 2018, by hand, the mean prediction being given."""
    network, x = linear_network("pada"), features().requires_grad_()
    assert network.method_module is not None and network.discriminator is not None
    mean = network.method_module.get_buffer("mean")
    assert mean.tolist() == pytest.approx([1 / CLASSES] * CLASSES)  # all classes alike at first
    mean.copy_(torch.tensor([0.5, 0.4, 0.1]))
    logits = network.classifier(x)
    found = METHODS.code("pada")(network, x, logits, DOMAINS, 1.0, BATCH, labels=LABELS)
    with torch.no_grad():
        moved = torch.tensor([0.5, 0.4, 0.1]).double().lerp(logits[BATCH:].softmax(1).mean(0), 0.02)
        weights = (moved / moved.max())[LABELS]
        answers = network.discriminator(x).squeeze(1)
        losses = nn.functional.binary_cross_entropy_with_logits(answers, DOMAINS, reduction="none")
        of_labels = nn.functional.cross_entropy(logits[:BATCH], LABELS, reduction="none")
        both = torch.cat([weights, weights.mean().expand(BATCH)])
    torch.testing.assert_close(mean, moved)
    torch.testing.assert_close(found.loss.detach(), (both * losses).mean())
    # Together with the label loss that is there anyway: the weighted one.
    assert found.further is not None
    whole = of_labels.mean() + found.further.detach()
    torch.testing.assert_close(whole, (weights * of_labels).mean())


def test_pada_is_dann_while_lambda_is_0_and_where_the_target_has_all_classes_alike() -> None:
    for lam, mean in ((0.0, [0.9, 0.1, 0.0]), (1.0, [1 / 3] * 3)):
        mine, dann_ = linear_network("pada"), linear_network("dann")
        dann_.load_state_dict(mine.state_dict(), strict=False)
        assert mine.method_module is not None
        mine.method_module.get_buffer("mean").copy_(torch.tensor(mean))
        # Features of 0 predict the bias alone: no class more than another after it is set to 0.
        nn.init.zeros_(mine.classifier.bias)
        x = torch.cat([features()[:BATCH], torch.zeros(BATCH, SIZE)]).double()
        logits = mine.classifier(x)
        found = METHODS.code("pada")(mine, x, logits, DOMAINS, lam, BATCH, labels=LABELS)
        expected = METHODS.code("dann")(dann_, x, logits, DOMAINS, lam, BATCH)
        torch.testing.assert_close(found.loss, expected.loss)
        assert found.further is not None and float(found.further.detach()) == pytest.approx(0)


def test_pada_learns_which_classes_the_target_lacks(tmp_path: Path) -> None:
    """Of three classes the target has two; the weight of the third falls."""
    data = tiny_data(source=96, target=96)
    rows = torch.arange(96) % 3 != 2
    easy = replace(data, target_images=(255 - data.target_images)[rows])
    config = recipe(
        method="pada", batch_norm="joint", epochs=16, bottleneck=32, learning_rate=0.005
    )
    run(config, easy, tmp_path)
    mean = load_checkpoint(tmp_path / LAST).model["method_module.mean"]
    assert mean[2] < 0.2 * mean[:2].min()
