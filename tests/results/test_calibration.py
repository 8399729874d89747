"""Calibration against cases whose answer is known."""

import numpy as np
import pytest

from dann_search.results.calibration import (
    COLDEST,
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


def test_labels_that_are_all_right_do_not_freeze_the_temperature_at_zero() -> None:
    assert fit_temperature(np.eye(5), np.arange(5)) == pytest.approx(COLDEST, rel=0.05)
