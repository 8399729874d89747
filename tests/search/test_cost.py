"""What a search is said to take before it begins."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from dann_search.config.load import load_experiment
from dann_search.models.registry import stage_counts
from dann_search.outputs.space import Estimate
from dann_search.results.lines import summary
from dann_search.search import cost
from dann_search.study.pruning import expected_epochs
from dann_search.training import frozen_stages, speed
from tests.experiments import space_file

HOUR = 3600


def estimated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sets: list[str], step_s: float
) -> Estimate:
    """Return the estimate of a search whose steps take so long, and whose validation nothing."""
    monkeypatch.setattr(speed, "measured", lambda *_: speed.Speed(step_s, 0.0))
    monkeypatch.setattr(cost, "START_S", 0.0)
    sets = [*sets, "resources.max_parallel_trials=1"]
    experiment, space = load_experiment(space_file(folder), stage_counts(), sets=sets)
    return cost.estimate(experiment, space, cost.images_of(experiment, space))


def test_hours_are_steps_times_epochs_times_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ["search.scheduler=none", "search.trials=7", "training.epochs=5"]
    found = estimated(tmp_path, monkeypatch, sets, 0.1)
    whole = 7 * 5 * found.measured[0].epoch_s / HOUR
    assert found.hours_low == pytest.approx(cost.LOW * whole)
    assert found.hours_high == pytest.approx(cost.HIGH * whole)
    assert found.epochs_mean == 5


def kept_seconds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sets: list[str], slots: int = 1
) -> tuple[float, Estimate]:
    """Return a search's seconds of features that are kept, each of an image taking one, by kind."""
    monkeypatch.setattr(frozen_stages, "WORTH", 0)
    monkeypatch.setattr(speed, "measured", lambda *_: speed.Speed(0.0, 0.0, 1.0))
    monkeypatch.setattr(cost, "START_S", 0.0)
    fixed = ["training.views=1", "training.pretrained=false", "training.method=source_only"]
    sets = [*fixed, f"resources.max_parallel_trials={slots}", *sets]
    space = {"learning_rate": {"loguniform": [0.01, 0.1]}}
    experiment, found = load_experiment(space_file(folder, space=space), stage_counts(), sets=sets)
    info = cost.images_of(experiment, found)
    images = (
        sum(info.sizes["source"][one] for one in ("train", "val")) + info.sizes["target"]["val"]
    )
    estimate = cost.estimate(experiment, found, info)
    return sum(one.kept_s for one in estimate.measured) / images, estimate


def test_features_that_trials_share_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = ["training.unfrozen_depth=1", "search.trials=8"]
    computed, estimate = kept_seconds(tmp_path, monkeypatch, frozen, slots=2)
    assert computed == pytest.approx(1.0)  # the other slot waits for it
    (one,) = estimate.measured
    assert estimate.hours_low == pytest.approx(cost.LOW * one.kept_s / HOUR)
    assert not kept_seconds(tmp_path, monkeypatch, ["training.unfrozen_depth=3"])[0]


def test_trials_with_views_of_their_own_compute_features_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ["training.unfrozen_depth=1", "search.trials=300", "training.views=2"]
    shared, _ = kept_seconds(tmp_path, monkeypatch, sets)
    own = [*sets, "space.rotation_degrees={uniform: [1, 20]}"]
    assert kept_seconds(tmp_path, monkeypatch, own)[0] == pytest.approx(300 * shared)


def test_only_what_takes_more_than_a_day_or_its_budget_gets_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ["search.scheduler=none", "search.trials=7", "training.epochs=5"]
    assert not estimated(tmp_path, monkeypatch, sets, 0.1).advice
    assert any("search.budget" in one for one in estimated(tmp_path, monkeypatch, sets, 1e3).advice)
    sets = [*sets, "search.budget.hours=0.001"]
    found = estimated(tmp_path, monkeypatch, sets, 1.0).advice
    assert found[0] == "search.budget.hours ends it after 0.001 h, with fewer trials"


def test_a_step_of_the_loop_is_timed_whatever_the_images(tmp_path: Path) -> None:
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    found = cost.estimate(experiment, space, cost.images_of(experiment, space), cost.BRIEF)
    assert all(one.step_s > 0 and one.epoch_s > one.step_s for one in found.measured)
    assert sum(one.share for one in found.measured) == pytest.approx(1.0)
    assert summary(found).startswith("estimated to take ")


def test_what_frozen_stages_make_of_images_is_no_part_of_a_step_where_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen_stages, "WORTH", 0)
    run, ran = frozen_stages.FrozenStages.run, list[int]()

    def counted(stages: frozen_stages.FrozenStages, images: Tensor) -> Tensor:
        ran.append(len(images))
        return run(stages, images)

    monkeypatch.setattr(frozen_stages.FrozenStages, "run", counted)
    fixed = ["training.views=1", "training.unfrozen_depth=1", "training.pretrained=false"]
    batches = []
    for limit in (20, 0):
        ran.clear()
        sets = [*fixed, f"data.feature_limit_gib={limit}"]
        experiment, space = load_experiment(space_file(tmp_path), stage_counts(), sets=sets)
        info = cost.images_of(experiment, space)
        (found,) = cost.estimate(experiment, space, info, cost.BRIEF).measured
        assert found.step_s > 0 and found.epoch_s > found.step_s
        batches.append(len(ran))
    assert 0 < batches[0] < batches[1]


def test_a_launch_times_as_many_backbones_as_it_can_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "measured", lambda *_: speed.Speed(0.1, 0.0))
    sets = ["space.backbone={choice: [dann_cnn, dann_mnist, dann_svhn]}"]
    experiment, space = load_experiment(space_file(tmp_path), stage_counts(), sets=sets)
    info = cost.images_of(experiment, space)
    all_ = cost.estimate(experiment, space, info, cost.BRIEF)
    assert len(all_.measured) == 3
    hurried = cost.estimate(experiment, space, info, replace(cost.BRIEF, most_s=0.0))
    assert len(hurried.measured) == 1
    assert hurried.hours_low > 0


@pytest.mark.parametrize(
    ("scheduler", "least", "most"),
    [("none", 8, 8), ("asha", 3, 5), ("hyperband", 3, 6), ("median", 5, 7)],
)
def test_pruning_leaves_some_of_the_epochs(scheduler: str, least: float, most: float) -> None:
    assert least <= expected_epochs(scheduler, 8, 24) <= most
    assert expected_epochs(scheduler, 8, 1) == 8
