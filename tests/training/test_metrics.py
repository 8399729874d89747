"""Metrics against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from dann_search.training.metrics import classification_metrics
from dann_search.training.result import EpochResult, best_epoch


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60),
    extra=st.integers(0, 3),
)
def test_metrics_are_scikit_learns_over_the_whole_label_space(
    pairs: list[tuple[int, int]], extra: int
) -> None:
    labels, predictions = (np.array(column) for column in zip(*pairs, strict=True))
    classes = 5 + extra
    found = classification_metrics(labels, predictions, classes)
    options = {"labels": range(classes), "average": "macro", "zero_division": 0}
    assert found.accuracy == pytest.approx(accuracy_score(labels, predictions))
    assert found.f1_macro == pytest.approx(f1_score(labels, predictions, **options))
    assert found.precision_macro == pytest.approx(precision_score(labels, predictions, **options))
    assert found.recall_macro == pytest.approx(recall_score(labels, predictions, **options))


def test_a_class_that_is_absent_counts_as_zero() -> None:
    """By hand: precision 1/2, 1, 0 and recall 1, 1/2, 0 of the three classes."""
    found = classification_metrics(np.array([0, 1, 1]), np.array([0, 1, 0]), 3)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.precision_macro == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found.recall_macro == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found.f1_macro == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def epoch(number: int, f1: float) -> EpochResult:
    return EpochResult(number, f1, 0, 0, 0, 0, None, None, None, 0, 0, 0, 0)


def test_the_best_epoch_is_the_earliest_of_the_highest_score() -> None:
    history = [epoch(n, f1) for n, f1 in enumerate([0.1, 0.5, 0.3, 0.5, 0.4], start=1)]
    assert best_epoch(history).epoch == 2
    assert best_epoch(history[:1]).epoch == 1
    assert best_epoch([epoch(1, 0.0), epoch(2, 0.0)]).epoch == 1
