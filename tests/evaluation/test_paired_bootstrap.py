"""Intervals over images and seeds, against slow loops of scikit-learn's F1 and against SciPy's."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import bootstrap
from sklearn.metrics import f1_score

from dann_search.evaluation import paired_bootstrap
from dann_search.evaluation.method_scores import score_methods
from dann_search.evaluation.paired_bootstrap import (
    Floats,
    Ints,
    image_weights,
    over_seeds,
    p_value,
    percentile_interval,
    resample,
    scores_on,
    stretch,
)

CLASSES, SEEDS, N = 4, 3, 80


def two_methods(rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Labels, and predictions (2, seeds, n) right in about 80 and 65 of 100."""
    labels = rng.integers(0, CLASSES, N)
    right = rng.random((2, SEEDS, N)) < np.array([0.8, 0.65])[:, None, None]
    return labels, np.where(right, labels, rng.integers(0, CLASSES, (2, SEEDS, N)))


def by_class(labels: Ints) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def f1(labels: Ints, predicted: Ints) -> float:
    return float(
        f1_score(labels, predicted, labels=range(CLASSES), average="macro", zero_division=0)
    )


def test_scores_of_a_resample_are_scikit_learns_on_the_repeated_images() -> None:
    rng = np.random.default_rng(1)
    labels, predictions = two_methods(rng)
    runs = predictions.reshape(-1, N)
    counts = rng.multinomial(N, np.full(N, 1 / N), size=20).T
    counts[labels == 0, 0] = 0  # a class that a resample has lost
    macro, accuracy = scores_on(labels, runs, CLASSES, counts.astype(float))
    for column in range(counts.shape[1]):
        rows = np.repeat(np.arange(N), counts[:, column])
        for run, predicted in enumerate(runs):
            assert macro[run, column] == pytest.approx(f1(labels[rows], predicted[rows]))
            if column:  # the first is no longer of N images
                mean = (labels == predicted)[rows].mean()
                assert accuracy[run, column] == pytest.approx(mean)


def test_the_interval_of_a_difference_is_that_of_a_plain_loop() -> None:
    """Other draws, other code: images by class, seeds after them, F1 by scikit-learn."""
    rng = np.random.default_rng(2)
    labels, predictions = two_methods(rng)

    def gap_on(rows: NDArray[np.intp]) -> Floats:
        mine, other = ([f1(labels[rows], run[rows]) for run in runs] for runs in predictions)
        gap: Floats = np.array(mine) - np.array(other)
        return gap

    measured, gaps = gap_on(np.arange(N)), []
    for _ in range(300):
        rows = np.concatenate([rng.choice(own, len(own)) for own in by_class(labels)])
        gap = 2 * measured - gap_on(rows)
        drawn = np.mean([gap[seed] for seed in rng.integers(0, SEEDS, SEEDS)])
        gaps.append(np.mean(gap) + (drawn - np.mean(gap)) * (SEEDS / (SEEDS - 1)) ** 0.5)
    low, high = np.percentile(gaps, [2.5, 97.5])
    mine, other = resample(labels, predictions, CLASSES).f1_macro
    low_end, high_end = percentile_interval(mine - other)
    # The ends of 300 resamples are known to a seventh of a deviation.
    near = 0.4 * np.std(gaps)
    assert low_end == pytest.approx(low, abs=near)
    assert high_end == pytest.approx(high, abs=near)
    assert np.std(mine - other) == pytest.approx(np.std(gaps), rel=0.15)


def test_with_seeds_all_alike_the_interval_is_scipys_over_images() -> None:
    labels, predictions = two_methods(np.random.default_rng(3))
    predictions[:] = predictions[:, :1]
    right = (predictions[:, 0] == labels).astype(float)

    def difference(mine: Floats, other: Floats, axis: int) -> Floats:
        gap: Floats = mine.mean(axis) - other.mean(axis)
        return gap

    theirs = bootstrap(
        tuple(right), difference, paired=True, vectorized=True, method="percentile",
        n_resamples=20_000, rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    mine, other = resample(labels, predictions, CLASSES, resamples=20_000).accuracy
    low_end, high_end = percentile_interval(mine - other)
    assert low_end == pytest.approx(theirs.low, abs=1.01 / N)  # accuracies are multiples of 1 / N
    assert high_end == pytest.approx(theirs.high, abs=1.01 / N)


def test_with_images_all_alike_the_interval_is_scipys_over_seeds_with_its_variance_put_right() -> (
    None
):
    gaps = np.array([0.1, 0.3, 0.2, 0.6, 0.4])
    theirs = bootstrap(
        (gaps,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(5)
    )
    drawn = np.random.default_rng(6).integers(0, 5, (20_000, 5))
    mean = over_seeds(np.repeat(gaps[None, :, None], 20_000, axis=2), drawn)[0]
    ends = np.array(theirs.confidence_interval) - gaps.mean()
    low_end, high_end = percentile_interval(mean - gaps.mean())
    assert (low_end, high_end) == pytest.approx(tuple(ends * (5 / 4) ** 0.5), abs=0.011)
    # Unbiased: the variance of a mean of five is a fifth of theirs.
    assert mean.var() == pytest.approx(gaps.var(ddof=1) / 5, rel=0.03)


def test_methods_are_drawn_together() -> None:
    """The same runs under two names never differ, whatever is drawn."""
    labels, predictions = two_methods(np.random.default_rng(7))
    drawn = resample(labels, predictions[[0, 0]], CLASSES, resamples=50)
    assert (drawn.f1_macro[0] == drawn.f1_macro[1]).all()
    assert drawn.f1_macro[0].std() > 0
    assert p_value(drawn.f1_macro[0] - drawn.f1_macro[1]) == 1


def test_p_is_twice_the_share_beyond_zero() -> None:
    assert p_value(np.linspace(1, 2, 1999)) == pytest.approx(2 / 2000)
    assert p_value(-np.linspace(1, 2, 1999)) == pytest.approx(2 / 2000)
    assert p_value(np.array([-1.0] * 24 + [1.0] * 975)) == pytest.approx(0.05)
    assert p_value(np.array([-1.0, 1.0])) == 1


def test_a_large_test_set_is_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired_bootstrap, "CELLS", 30 * N)
    labels, predictions = two_methods(np.random.default_rng(9))
    parts = list(image_weights(np.random.default_rng(8), labels, 100))
    assert [part.shape for part in parts] == [(N, 30), (N, 30), (N, 30), (N, 10)]
    for own in by_class(labels):
        assert all(part[own].sum(0) == pytest.approx(len(own)) for part in parts)
    assert resample(labels, predictions, CLASSES, resamples=100).accuracy.shape == (2, 100)


def test_no_class_is_lost_and_resamples_vary_as_test_sets_do() -> None:
    """With two images a class, as many drawn from two would vary by half of what they should."""
    labels = np.repeat(np.arange(200), 2)
    (weights,) = image_weights(np.random.default_rng(10), labels, 400)
    assert all((weights[own].sum(0) == 2).all() for own in by_class(labels))
    right = np.random.default_rng(11).random(400) < 0.7
    accuracy = right @ weights / 400
    # Unbiased within classes: the variance of a mean of 200 independent pairs.
    pairs = right.reshape(-1, 2)
    assert accuracy.var() == pytest.approx((pairs.var(1, ddof=1) / 2).sum() / 200**2, rel=0.2)


@pytest.mark.parametrize(("classes", "images"), [(65, 2), (31, 3), (40, 1)])
def test_resamples_lie_around_what_was_measured_with_many_classes_of_few_images(
    classes: int, images: int
) -> None:
    rng = np.random.default_rng(12)
    labels = np.repeat(np.arange(classes), images)
    right = rng.random((2, SEEDS, len(labels))) < np.array([0.9, 0.5])[:, None, None]
    predictions = np.where(right, labels, rng.integers(0, classes, right.shape))
    mine, other = score_methods(
        labels, {"dann": predictions[0], "other": predictions[1]}, list("x" * classes), "dann"
    ).values()
    for score in (mine.f1_macro_test, mine.accuracy_test):
        assert score.ci95 is not None and score.ci95[0] < score.mean < score.ci95[1]
    for gap in other.difference.values():
        assert gap.ci95[0] < gap.mean < gap.ci95[1]


def test_single_images_count_as_if_they_varied_like_the_others() -> None:
    assert stretch(np.array([0, 0, 1, 1])) == (1, 1)
    # Of 1/2 + 1/1, half varies by 1/3; of three images, two do.
    assert stretch(np.array([0, 0, 1])) == pytest.approx((3**0.5, 1.5**0.5))


def test_intervals_of_scores_near_one_end_there() -> None:
    rng = np.random.default_rng(13)
    labels, predictions = two_methods(rng)
    predictions[0] = labels
    predictions[0, 0, :8] = (labels[:8] + 1) % CLASSES  # one seed is worse, and stretched
    predictions[1] = (labels + 1) % CLASSES
    predictions[1, 0, :8] = labels[:8]
    mine, other = score_methods(
        labels, {"dann": predictions[0], "other": predictions[1]}, list("abcd"), "dann"
    ).values()
    for one in (mine, other):
        for value in (one.f1_macro_test, one.accuracy_test):
            assert value.ci95 is not None and 0 <= value.ci95[0] < value.ci95[1] <= 1
    for gap in other.difference.values():
        assert gap.ci95[1] == 1


def test_methods_that_differ_on_one_image_are_not_told_apart() -> None:
    labels = np.repeat(np.arange(CLASSES), 20)
    worse = np.tile(labels, (SEEDS, 1))
    worse[:, 0] = 1
    mine, other = resample(labels, np.stack([np.tile(labels, (SEEDS, 1)), worse]), CLASSES).f1_macro
    low_end, high_end = percentile_interval(mine - other)
    assert low_end < 0 < high_end
    assert p_value(mine - other) > 0.3
