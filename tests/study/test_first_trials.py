"""What a study begins with, and what it does not forget in a crash."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from dann_search.config.grid import grid
from dann_search.config.load import load_experiment
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from dann_search.results.reader import read_trials
from dann_search.study.first_trials import check_grid, warm_trials
from tests.experiments import space_file
from tests.studies import finish_all, folder_of, open_record

GRID: dict[str, Any] = {
    "lambda_schedule": {"choice": ["constant", "ganin"]},
    "lambda_gamma": {"choice": [3, 10, 20]},
    "unfrozen_depth": {"int": [1, 3], "step": 2},
}


def test_published_recipes_then_start_points_then_the_sampler(tmp_path: Path) -> None:
    points = [{"learning_rate": 0.03, "unfrozen_depth": 2}]
    record = open_record(tmp_path, search__start_points=points)
    configs = [one.config for one in finish_all(record)]
    assert configs[0].lambda_schedule == "ganin"
    assert (configs[0].lambda_gamma, configs[0].learning_rate) == (10.0, 0.01)
    assert configs[0].unfrozen_depth == 3
    # tllib's learning rate is below the range: the nearest there is.
    assert (configs[1].lambda_gamma, configs[1].learning_rate) == (20.0, 0.01)
    assert (configs[2].learning_rate, configs[2].unfrozen_depth) == (0.03, 2)
    record.close()
    rows = read_trials(folder_of(tmp_path))
    assert [row.origin for row in rows] == ["DANN paper", "tllib", "start point 1", None]


def test_a_recipe_that_comes_to_the_one_before_in_this_space_is_not_repeated(
    tmp_path: Path,
) -> None:
    record = open_record(tmp_path, space={"learning_rate": {"loguniform": [0.01, 0.1]}})
    finish_all(record)
    record.close()
    rows = read_trials(folder_of(tmp_path))
    assert [row.origin for row in rows] == ["DANN paper", None, None, None]


def test_a_point_that_was_put_in_but_not_taken_before_a_crash_is_not_put_in_again(
    tmp_path: Path,
) -> None:
    first = open_record(tmp_path)
    params = first.proposals._first[0].params
    first.study.enqueue_trial(params)
    first.close()
    folder = folder_of(tmp_path)
    assert read_trials(folder) == []
    second = open_record(tmp_path)
    assert [trial.state.name for trial in second.study.trials] == ["WAITING"]
    configs = [one.config for one in finish_all(second)]
    assert len(configs) == 4
    assert [(c.learning_rate, c.lambda_gamma) for c in configs].count((0.01, 10.0)) == 1


def test_a_published_recipe_of_an_earlier_version_is_not_tried_again(tmp_path: Path) -> None:
    space = {
        "learning_rate": {"loguniform": [0.001, 0.1]},
        "vertical_flip": {"uniform": [0, 0.5]},
    }
    first = open_record(tmp_path, space=space, search__published_first=False)
    # Version 0.1.0 did not state the vertical flip.
    old = {"learning_rate": 0.01}
    first.study.enqueue_trial(old, user_attrs={"origin": "DANN paper"})
    first.close()
    second = open_record(tmp_path, space=space)
    taken = finish_all(second)
    found = [(one.config.learning_rate, second.study.trials[one.number].user_attrs.get("origin"))
             for one in taken]  # fmt: skip
    assert found[:2] == [(0.01, "DANN paper"), (0.001, "tllib")]
    assert [origin for _, origin in found].count("DANN paper") == 1


def test_a_grid_is_searched_whole_and_once_across_a_crash(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__sampler": "grid", "search__trials": 100, "space": GRID}
    first = open_record(tmp_path, **changes)
    assert first.proposals.total == (1 + 3) * 2
    before = [first.next_trial() for _ in range(3)]
    assert all(before)
    first.close()
    second = open_record(tmp_path, **changes)
    taken = finish_all(second)
    assert [one.number for one in taken[:3]] == [0, 1, 2]
    found = [second.space.active(one.config.model_dump()) for one in taken]
    assert sorted(map(str, found)) == sorted(map(str, grid(second.space)))
    assert second.proposals.is_complete


def test_a_grid_that_changed_is_searched_whole_and_once(tmp_path: Path) -> None:
    optimizer = {"choice": ["sgd", "adamw"]}
    before = {"optimizer": optimizer, "lambda_max": {"uniform": [0.1, 0.3], "step": 0.1}}
    grown = {"optimizer": optimizer, "lambda_max": {"uniform": [0, 0.4], "step": 0.1}}
    changes: dict[str, Any] = {"search__sampler": "grid", "search__trials": 100}
    record = open_record(tmp_path, space=before, **changes)
    taken = finish_all(record)
    assert len(taken) == 6
    with pytest.raises(InputError, match="the grid is exhausted, each of its 6 points"):
        record.proposals.add_trials(5)
    record.close()
    record = open_record(tmp_path, space=grown, allow_wider=True, search__seed=5, **changes)
    assert record.proposals.total == 10
    taken += finish_all(record)
    found = [str(record.space.active(one.config.model_dump())) for one in taken]
    assert sorted(found) == sorted(map(str, grid(record.space)))


def test_a_grid_begun_after_chance_leaves_out_what_chance_found(tmp_path: Path) -> None:
    steps = {"uniform": [0.1, 0.4], "step": 0.1}  # Optuna finds 0.30000000000000004
    space = {"optimizer": {"choice": ["sgd", "adamw"]}, "lambda_max": steps}
    record = open_record(tmp_path, space=space, search__published_first=False, search__trials=6)
    taken = finish_all(record)
    assert any(
        trial.params["lambda_max"] not in (0.1, 0.2, 0.3, 0.4) for trial in record.study.trials
    )
    record.close()
    record = open_record(tmp_path, space=space, search__sampler="grid", search__trials=6)
    record.proposals.add_trials(100)
    later = [str(record.space.active(one.config.model_dump())) for one in finish_all(record)]
    found = {str(record.space.active(one.config.model_dump())) for one in taken}
    assert sorted([*found, *later]) == sorted(map(str, grid(record.space)))


def test_start_points_set_on_a_resume_are_tried_next(tmp_path: Path) -> None:
    points = [{"learning_rate": 0.03}]
    record = open_record(tmp_path, search__start_points=points)
    finish_all(record)
    record.close()
    record = open_record(tmp_path, search__start_points=[{"learning_rate": 0.07}, *points])
    record.proposals.add_trials(2)
    assert [one.config.learning_rate == 0.07 for one in finish_all(record)] == [True, False]


def test_a_part_of_a_grid_is_spread_over_it(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__sampler="grid", search__trials=4, space=GRID)
    taken = finish_all(record)
    assert len(taken) == 4
    assert len({one.config.unfrozen_depth for one in taken}) == 2


def test_a_grid_begins_with_the_start_points_and_has_each_point_once(tmp_path: Path) -> None:
    space = {
        "lambda_schedule": GRID["lambda_schedule"],
        "lambda_gamma": GRID["lambda_gamma"],
        "learning_rate": {"uniform": [0.1, 0.3], "step": 0.2},
    }
    points = [
        {"lambda_schedule": "ganin", "lambda_gamma": 20, "learning_rate": 0.3},
        {"lambda_schedule": "constant"},  # the rest is the grid's choice
    ]
    changes: dict[str, Any] = {"search__sampler": "grid", "search__published_first": False}
    changes |= {"search__start_points": points, "search__trials": 100, "space": space}
    record = open_record(tmp_path, **changes)
    first, second, *_ = [record.space.active(one.config.model_dump()) for one in finish_all(record)]
    assert first == points[0]
    assert second["lambda_schedule"] == "constant"
    record.close()
    rows = read_trials(folder_of(tmp_path))
    assert [row.origin for row in rows[:3]] == ["start point 1", "start point 2", "grid"]
    assert len({str(row.params) for row in rows}) == len(rows) == (1 + 3) * 2


def test_a_grid_over_a_range_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"space.lambda_gamma: .grid. needs values it can count, and loguniform"
    ):
        open_record(tmp_path, search__sampler="grid")


def test_a_grid_beyond_listing_is_refused(tmp_path: Path) -> None:
    steps = {"uniform": [0, 0.5], "step": 0.001}
    space = {"translation": steps, "horizontal_flip": steps, "erasing": steps}
    experiment, found = load_experiment(
        space_file(tmp_path, space=space, search__sampler="grid"), stage_counts()
    )
    with pytest.raises(InputError, match="the grid has 125,751,501 points"):
        check_grid(experiment, found)


def known(score: float, **config: Any) -> KnownTrial:
    values = {"lambda_schedule": "constant", "learning_rate": 0.05, "unfrozen_depth": 2, **config}
    return KnownTrial("other trial 3", values, score)


def test_trials_of_another_experiment_teach_the_sampler_but_are_not_ours(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    others = [known(0.99), known(0.2, learning_rate=0.5), known(0.3, backbone="vgg16")]
    record = open_record(tmp_path, others, search__study="sqlite")
    assert len(record.study.get_trials()) == 1  # the others lie outside
    assert record.tally.best() is None
    assert record.tally.counts().finished == 0
    taken = finish_all(record)
    assert len(taken) == 4
    assert record.tally.best() == (taken[0].number, 0.5)
    record.close()
    assert [row.number for row in read_trials(folder)] == [one.number for one in taken]
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{folder.study}")
    assert study.best_trial.number == taken[0].number


def test_to_the_sampler_a_good_trial_of_another_experiment_is_good(tmp_path: Path) -> None:
    space = {"lambda_max": {"uniform": [0, 1]}}
    same = {"lambda_schedule": "ganin", "learning_rate": 0.001, "unfrozen_depth": None}
    others = [known(1 - abs(x / 20 - 0.8), lambda_max=x / 20, **same) for x in range(20)]
    record = open_record(
        tmp_path, others, space=space, search__sampler="tpe", search__published_first=False
    )
    taken = record.next_trial()
    assert taken and abs(taken.config.lambda_max - 0.8) < 0.2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"method": "source_only"}, "method is 'source_only' there, 'dann' here"),
        ({"epochs": 50}, "epochs is 50 there, 3 here"),
        ({"batch_size": 4}, "batch_size is 4 there, 64 here"),
        ({"optimizer": "adamw"}, "optimizer is 'adamw' there, 'sgd' here"),
        ({"backbone": "vgg16"}, "no trial here has the backbone vgg16"),
        ({"learning_rate": 0.5}, "learning_rate is 0.5 there, outside of what is searched here"),
        ({"seed": 5}, ""),
        ({"lambda_warmup": 0.3}, ""),  # of no effect under a constant lambda
    ],
)
def test_a_trial_is_learned_from_if_this_space_could_have_proposed_it(
    tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    _, space = load_experiment(space_file(tmp_path), stage_counts())
    if why:
        with pytest.raises(
            InputError, match=f"none of its 1 completed trials lies in this space: {why}"
        ):
            warm_trials(space, [known(0.2, **change)])
    else:
        assert len(warm_trials(space, [known(0.2, **change)])) == 1


def test_trials_of_any_precision_teach_a_search_that_leaves_it_open(tmp_path: Path) -> None:
    file = space_file(tmp_path, training__precision="auto")
    _, space = load_experiment(file, stage_counts())
    assert len(warm_trials(space, [known(0.2, precision=one) for one in ("fp32", "bf16")])) == 2
