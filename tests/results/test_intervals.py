"""Intervals of scores where several images show one content."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dann_search.evaluation.method_scores import score_methods
from dann_search.results.intervals import metric_intervals, units_of

CLASSES, CONTENTS, COPIES = 4, 60, 4
Ints = NDArray[np.int64]


def world(rng: np.random.Generator, runs: int, same: float) -> tuple[Ints, Ints, Ints]:
    """Labels, contents and predictions (runs, n), each content right in a share of its own.

    ``same`` is how far copies agree: 0 not at all, 1 wholly. The mean share is 0.7.
    """
    contents = np.repeat(np.arange(CONTENTS), COPIES)
    labels = contents % CLASSES
    share = rng.beta(0.7 * (1 / same - 1), 0.3 * (1 / same - 1), (CONTENTS,))
    right = rng.random((runs, len(contents))) < share[contents]
    wrong = (labels + rng.integers(1, CLASSES, right.shape)) % CLASSES
    return labels, contents, np.where(right, labels, wrong)


def test_intervals_cover_the_truth_where_copies_are_drawn_together_and_only_there() -> None:
    rng, worlds = np.random.default_rng(0), 200
    covered = {"together": 0, "each": 0}
    for _ in range(worlds):
        labels, contents, (predicted,) = world(rng, 1, same=0.5)
        for name, groups in (("together", contents), ("each", None)):
            low, high = metric_intervals(labels, predicted, CLASSES, groups)["accuracy"]
            covered[name] += low <= 0.7 <= high
    # 0.95 is right; a deviation of 200 worlds is 0.015. Copies by themselves: 2.5 times too many.
    assert covered["together"] / worlds == pytest.approx(0.95, abs=0.035)
    assert covered["each"] / worlds < 0.85


def test_macro_averages_and_comparisons_widen_by_the_design_effect() -> None:
    labels, contents, predictions = world(np.random.default_rng(1), 6, same=0.5)
    runs = {"dann": predictions[:3], "other": predictions[3:]}

    def widths(groups: Ints | None) -> list[float]:
        macro = metric_intervals(labels, predictions[0], CLASSES, groups)
        scores = score_methods(labels, runs, list("abcd"), "dann", groups=groups)
        ends = [macro[name] for name in ("precision_macro", "recall_macro", "f1_macro", "accuracy")]
        own = scores["dann"]
        ends += [one.ci95 or (0, 0) for one in (own.f1_macro_test, own.accuracy_test)]
        return [high - low for low, high in ends]

    # Of four copies that agree half: sqrt(1 + 3 / 2).
    factors = np.array(widths(contents)) / widths(None)
    assert factors == pytest.approx(np.full(6, 2.5**0.5), rel=0.3)


def test_where_every_image_has_a_content_of_its_own_nothing_changes() -> None:
    labels, _, predictions = world(np.random.default_rng(2), 6, same=0.5)
    alone = np.arange(len(labels))
    runs = {"dann": predictions[:3], "other": predictions[3:]}
    own, none = (
        score_methods(labels, runs, list("abcd"), "dann", groups=groups)["other"]
        for groups in (alone, None)
    )
    assert (
        np.std(np.array(own.difference["f1_macro"].ci95) - none.difference["f1_macro"].ci95) < 0.01
    )
    ends = metric_intervals(labels, predictions[0], CLASSES, alone)
    for name, (low, high) in metric_intervals(labels, predictions[0], CLASSES).items():
        assert ends[name] == pytest.approx((low, high), abs=0.01)


def test_one_content_under_two_labels_is_drawn_with_each() -> None:
    labels, unit_of = units_of(np.array([0, 1, 0, 1]), np.array([7, 7, 7, 3]))
    assert labels.tolist() == [0, 1, 1]
    assert unit_of.tolist() == [0, 2, 0, 1]


def test_all_right_is_as_sure_as_the_contents_are_many() -> None:
    contents = np.repeat(np.arange(CONTENTS), COPIES)
    labels = contents % CLASSES
    low, high = metric_intervals(labels, labels, CLASSES, contents)["accuracy"]
    single, _ = metric_intervals(labels[::COPIES], labels[::COPIES], CLASSES)["accuracy"]
    assert high == 1 and low == pytest.approx(single)
