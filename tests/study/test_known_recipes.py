"""A recipe that was trained is a result known: told to the sampler, not trained again."""

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from dann_search.results.reader import read_search
from dann_search.search.checks import remarks
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.explain import explain
from dann_search.study.proposals import Assignment
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import CONFIRMS, REPEATS
from tests.experiments import space_file
from tests.studies import finish, finish_all, open_record

FINITE: dict[str, Any] = {
    "space": {
        "optimizer": {"choice": ["sgd", "adamw"]},
        "lambda_schedule": {"choice": ["constant", "ganin"]},
        "lambda_gamma": {"choice": [5, 10], "when": {"lambda_schedule": "ganin"}},
    },
    "search__trials": 14,
    "search__published_first": False,
}
"""Six recipes, of which the two with a constant lambda ignore gamma."""


def recipes(record: StudyRecord, found: list[Assignment]) -> set[str]:
    return {str(record.space.active(one.config.model_dump())) for one in found}


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "grid"])
def test_a_finite_space_is_trained_once_and_the_search_ends(tmp_path: Path, sampler: str) -> None:
    record = open_record(tmp_path, **FINITE, search__sampler=sampler)
    assert record.proposals.total == 6
    found = finish_all(record)
    assert len(found) == len(recipes(record, found)) == 6
    assert record.proposals.is_complete and record.tally.counts().completed == 6


def test_the_sampler_is_told_what_a_repeated_recipe_came_to(tmp_path: Path) -> None:
    record = open_record(tmp_path, **FINITE, search__sampler="random")
    found = finish_all(record)
    repeats = [t for t in record.study.trials if REPEATS in t.user_attrs]
    assert len(repeats) + len(found) == len(record.study.trials) and repeats
    for trial in repeats:
        earlier = record.study.trials[trial.user_attrs[REPEATS]]
        assert trial.state == TrialState.COMPLETE and trial.value == earlier.value
    assert record.study.best_trial.number == record.tally.best()[0]  # type: ignore[index]


def test_while_the_earlier_one_still_trains_nothing_is_known(tmp_path: Path) -> None:
    record = open_record(tmp_path, **FINITE, search__sampler="random")
    running = [record.next_trial() for _ in range(6)]
    assert len(recipes(record, [one for one in running if one])) == 6
    repeats = [t for t in record.study.trials if REPEATS in t.user_attrs]
    assert repeats and all(t.state == TrialState.FAIL for t in repeats)
    assert record.tally.counts().failed == 0 and record.next_trial() is None


def test_what_was_trained_is_known_after_a_crash(tmp_path: Path) -> None:
    first = open_record(tmp_path, **FINITE)
    begun = [first.next_trial() for _ in range(3)]
    for one in begun[:2]:
        finish(first, 0.5, one)
    first.close()
    second = open_record(tmp_path, **FINITE)
    assert second.next_trial() == begun[2]
    finish(second, 0.4, begun[2])
    later = finish_all(second)
    assert len(later) == 3 and len(recipes(second, [*filter(None, begun), *later])) == 6
    with pytest.raises(InputError, match=r"--add-trials 3: each of the configurations .* 6 trials"):
        second.proposals.add_trials(3)


def test_a_recipe_without_an_end_of_values_is_proposed_as_before(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__trials=6)
    assert len(finish_all(record)) == 6 == len(record.study.trials)


def test_finalists_are_different_recipes(tmp_path: Path) -> None:
    changes = {**FINITE, "search__trials": 6, "search__confirm": {"top": 3, "seeds": 1}}
    record = open_record(tmp_path, **changes)
    found = finish_all(record)
    again = [record.study.trials[one.number].user_attrs[CONFIRMS] for one in found[6:]]
    assert len(again) == 3 and len(recipes(record, found[6:])) == 3


def test_of_repeated_trials_of_an_earlier_version_one_is_a_finalist(tmp_path: Path) -> None:
    changes = {**FINITE, "search__trials": 6, "search__confirm": {"top": 2, "seeds": 1}}
    record = open_record(tmp_path, **changes)
    confirm = record.experiment.search.confirm
    assert confirm
    scores, recipe = {0: 0.9, 1: 0.9, 2: 0.5}, {0: {"a": 1}, 1: {"a": 1}, 2: {"a": 2}}
    assert confirm.finalists(scores, recipe) == [0, 2]


def test_space_and_launch_say_that_the_space_has_an_end(tmp_path: Path) -> None:
    experiment, space = load_experiment(space_file(tmp_path, **FINITE), stage_counts())
    said = explain(experiment, space, "plan", "disk")
    assert (said.combinations, said.trials) == (6, 6)
    [remark] = remarks(experiment, space)
    assert remark.startswith("search.trials is 14, but the space has 6 configurations: each is")


def test_status_counts_no_more_trials_than_there_are_recipes(tmp_path: Path) -> None:
    record = open_record(tmp_path, **FINITE)
    finish_all(record)
    place = record.experiment.place
    record.close()
    state = read_search(ExperimentFolder.at(place))
    assert (state.total, len(state.rows)) == (6, 6)
