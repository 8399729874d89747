"""How far domains lie apart, held against cases whose answer is known."""

import numpy as np
import pytest

from dann_search.report.shift import domain_shift, on_a_plane, proxy_a_distance, squared_mmd


def test_one_distribution_has_no_distance_and_two_far_ones_the_largest() -> None:
    rng = np.random.default_rng(0)
    source, same = rng.normal(size=(300, 20)), rng.normal(size=(300, 20))
    near, far = domain_shift(source, same), domain_shift(source, same + 5)
    assert near.a_distance < 0.3 and abs(near.mmd2) < 0.01
    assert far.a_distance == pytest.approx(2, abs=0.01) and far.mmd2 > 0.1
    assert near.n == far.n == 300


def test_scale_and_width_of_features_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(100, 5)), rng.normal(0.7, 1, size=(100, 5))
    plain = domain_shift(source, target)
    scaled = domain_shift(source * 100 + 3, target * 100 + 3)
    padded = domain_shift(np.pad(source, ((0, 0), (0, 9))), np.pad(target, ((0, 0), (0, 9))))
    for other in (scaled, padded):
        assert other.a_distance == pytest.approx(plain.a_distance)
        assert other.mmd2 == pytest.approx(plain.mmd2)


def test_many_features_of_few_images_are_not_told_apart_by_chance() -> None:
    rng = np.random.default_rng(2)
    found = domain_shift(rng.normal(size=(40, 500)), rng.normal(size=(40, 500)))
    assert found.a_distance < 0.6


def test_the_error_of_a_threshold_is_the_a_distance() -> None:
    # Of 100 on either side of 0, ten a side lie on the wrong one: e = 0.1.
    side = np.concatenate([np.full(90, 1.0), np.full(10, -1.0)])
    assert proxy_a_distance(-side[:, None], side[:, None]) == pytest.approx(2 * (1 - 0.2))


def test_mmd_is_the_mean_over_pairs_as_written_out() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 3)), rng.normal(1, 1, size=(5, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * 1.7**2)))

    within_x = np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert squared_mmd(x, y, 1.7) == pytest.approx(within_x + within_y - 2 * between)


def test_places_on_the_plane_are_the_same_each_time_and_keep_groups_together() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(np.eye(3, 30) * 20, 30, axis=0) + rng.normal(size=(90, 30))
    places, method = on_a_plane(groups)
    again, _ = on_a_plane(groups)
    assert method == "t-SNE" and np.array_equal(places, again)
    centres = places.reshape(3, 30, 2).mean(1)
    spread = places.reshape(3, 30, 2).std(1).max()
    gaps = np.linalg.norm(centres[[0, 1, 2]] - centres[[1, 2, 0]], axis=1)
    assert gaps.min() > 3 * spread
    few, method = on_a_plane(groups[:20])
    assert method == "PCA" and few.shape == (20, 2)


def test_features_without_any_spread_have_places_too() -> None:
    places, _ = on_a_plane(np.ones((80, 7)))
    assert places.shape == (80, 2) and np.isfinite(places).all()
    assert domain_shift(np.ones((9, 7)), np.ones((9, 7))).a_distance == 0
