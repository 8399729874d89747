"""Calibration against cases whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from dann_search.evaluation.calibration import (
    COLDEST,
    doubt,
    expected_calibration_error,
    fit_temperature,
    reliability,
    to_probabilities,
)


def test_the_error_is_the_distance_of_confidence_and_accuracy_weighted_by_images() -> None:
    # Three images at 0.9, two of them right; one at 0.6, right. (3 |2/3 - 0.9| + |1 - 0.6|) / 4
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    labels = np.array([0, 1, 1, 0])
    bins = reliability(probabilities, labels, bins=10)
    assert [one.n for one in bins] == [0, 0, 0, 0, 0, 1, 0, 0, 3, 0]
    assert expected_calibration_error(bins) == pytest.approx((3 * abs(2 / 3 - 0.9) + 0.4) / 4)


def test_every_image_is_in_one_bin_also_at_the_ends() -> None:
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5]])
    bins = reliability(probabilities, np.array([0, 0]))
    assert sum(one.n for one in bins) == 2 and bins[-1].n == 1


def test_a_temperature_undoes_the_overconfidence_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (20_000, 4))
    chances = to_probabilities(honest)
    labels = (chances.cumsum(1) > rng.random((20_000, 1))).argmax(1)
    assert fit_temperature(honest * 3, labels) == pytest.approx(3, rel=0.03)
    calibrated = expected_calibration_error(reliability(to_probabilities(honest * 3, 3), labels))
    overconfident = expected_calibration_error(reliability(to_probabilities(honest * 3), labels))
    assert calibrated < 0.02 < 0.1 < overconfident


def drawn(seed: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (n, 10) whose softmax is the chance of each label, and labels (n,), 9 of 10 right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    return 3 * rng.normal(3 * np.eye(10)[labels]), labels


def nll(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    return log_loss(labels, to_probabilities(logits, temperature), labels=range(10))


def test_few_labels_that_are_all_right_do_not_make_new_probabilities_worse() -> None:
    logits, labels = drawn(0, 400)
    right = np.flatnonzero(logits.argmax(1) == labels)[:25]
    temperature = fit_temperature(logits[right], labels[right])
    new = drawn(1, 2000)
    assert 0.5 < temperature < 1
    assert nll(*new, temperature) < 1.2 * nll(*new, 1)
    assert nll(*new, COLDEST) > 5 * nll(*new, 1)  # where the likelihood of these labels is largest
    assert "all 25 images" in doubt(logits[right], labels[right], temperature)


@pytest.mark.parametrize("true", [0.5, 2.0])
def test_many_labels_decide_the_temperature_alone(true: float) -> None:
    logits, labels = drawn(2, 5000)
    logits *= true
    grid = np.exp(np.linspace(np.log(true / 1.3), np.log(true * 1.3), 60))
    likeliest = grid[np.argmin([nll(logits, labels, one) for one in grid])]
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(likeliest, rel=0.01)
    assert doubt(logits, labels, temperature) == ""


def test_a_temperature_at_its_bound_is_doubted() -> None:
    logits, labels = np.tile(np.eye(5) / 100, (400, 1)), np.tile(np.arange(5), 400)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(COLDEST, rel=1e-3)
    assert "at its bound, 0.05" in doubt(logits, labels, temperature)
