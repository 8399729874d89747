"""What a search may spend: which limit comes first, and what a crash does not give back."""

from pathlib import Path
from typing import Any

import pytest

from dann_search.study.budget import GRANTED, Budget
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import SPENT, STOPPED_BY
from tests.studies import open_record, take


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def budget_of(record: StudyRecord, clock: Clock, **options: Any) -> Budget:
    limits = record.experiment.search.budget
    return Budget(limits, record, cpus=2, gpus=0.5, clock=clock, **options)


def run_trial(
    record: StudyRecord, budget: Budget, score: float, state: str = "completed"
) -> str | None:
    taken = take(record)
    budget.trial_started(taken.number, taken.config, [])
    record.report(taken.number, [score])
    if state == "failed":
        record.fail(taken.number, "the loss became nan")
    else:
        getattr(record, {"completed": "complete", "pruned": "prune"}[state])(taken.number)
    budget.trial_ended(taken.number, state, None)
    return budget.reached()


@pytest.mark.parametrize(
    ("limit", "reason", "hours"),
    [
        ({"hours": 3}, "time", 3.0),
        ({"cpu_hours": 8}, "cpu_hours", 2.0),
        ({"gpu_hours": 1}, "gpu_hours", 1.0),
    ],
)
def test_hours_of_the_clock_and_of_what_two_running_trials_reserve(
    tmp_path: Path, limit: dict[str, float], reason: str, hours: float
) -> None:
    record, clock = open_record(tmp_path, search__budget=limit), Clock()
    budget = budget_of(record, clock)
    for _ in range(2):
        taken = take(record)
        budget.trial_started(taken.number, taken.config, [])
    clock.now += hours * 3600 - 1
    assert budget.reached() is None
    clock.now += 2
    assert budget.reached() == reason


def test_trials_in_a_row_without_improvement_end_the_search(tmp_path: Path) -> None:
    limits = {"no_improvement": 2}
    record = open_record(tmp_path, search__budget=limits, search__trials=10)
    budget = budget_of(record, Clock())
    scores = [0.5, 0.4, 0.6, 0.6, 0.1]
    reasons = [run_trial(record, budget, score) for score in scores]
    assert reasons == [None, None, None, None, "no_improvement"]


def test_what_was_not_completed_is_nothing_that_others_must_be_better_than(tmp_path: Path) -> None:
    limits = {"no_improvement": 3}
    record = open_record(tmp_path, search__budget=limits, search__trials=10)
    budget = budget_of(record, Clock())
    trials = [(0.5, "completed"), (0.9, "failed"), (0.95, "pruned"), (0.6, "completed")]
    assert [run_trial(record, budget, *trial) for trial in trials] == [None] * 4
    assert budget_of(record, Clock()).since == budget.since == 0
    ends = [run_trial(record, budget, 0.3, state) for state in ("failed", "pruned", "completed")]
    assert ends == [None, None, "no_improvement"]


def test_trainings_that_confirm_a_finalist_are_no_trials_of_the_search(tmp_path: Path) -> None:
    record = open_record(
        tmp_path,
        search__trials=2,
        search__confirm={"top": 1, "seeds": 3},
        search__budget={"no_improvement": 2, "target": 0.9},
    )
    budget = budget_of(record, Clock())
    reasons = [run_trial(record, budget, score) for score in (0.5, 0.6, 0.4, 0.4, 0.95)]
    assert reasons == [None] * 5
    assert record.proposals.is_complete


def test_the_target_is_reached_by_a_completed_trial_alone(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__budget={"target": 0.8})
    budget = budget_of(record, Clock())
    assert run_trial(record, budget, 0.9, "pruned") is None
    assert run_trial(record, budget, 0.79) is None
    assert run_trial(record, budget, 0.8) == "target"


def test_after_a_crash_only_what_is_left_may_be_spent(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__budget": {"hours": 1}, "search__trials": 9}
    record, clock = open_record(tmp_path, **changes), Clock()
    budget = budget_of(record, clock)
    clock.now += 2400
    assert run_trial(record, budget, 0.5) is None
    record.close()  # killed

    record = open_record(tmp_path, **changes)
    budget = budget_of(record, clock)
    clock.now += 1100
    assert budget.reached() is None
    clock.now += 200
    assert budget.reached() == "time"
    budget.ended("time")
    assert record.study.user_attrs[STOPPED_BY] == "time"
    assert record.study.user_attrs[SPENT]["hours"] == pytest.approx(3700 / 3600)
    record.close()

    # It had stopped by itself: whoever resumes it grants as much again.
    record = open_record(tmp_path, **changes)
    budget = budget_of(record, clock)
    assert budget.reached() is None
    assert record.study.user_attrs[GRANTED]["hours"] == pytest.approx(3700 / 3600)
    clock.now += 3601
    assert budget.reached() == "time"


def test_a_target_reached_before_a_crash_is_reached_after_it(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__budget": {"target": 0.8}}
    record = open_record(tmp_path, **changes)
    assert run_trial(record, budget_of(record, Clock()), 0.85) == "target"
    record.close()
    record = open_record(tmp_path, **changes)
    budget = budget_of(record, Clock())
    assert budget.reached() == "target"
    budget.ended("target")
    record.close()
    # Whoever resumes it after that wants a better one.
    record = open_record(tmp_path, **changes)
    budget = budget_of(record, Clock())
    assert budget.reached() is None
    assert run_trial(record, budget, 0.7) is None


def test_a_crash_gives_no_hours_back(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__budget": {"hours": 1}}
    clock = Clock()
    spent = []
    for _ in range(3):
        record = open_record(tmp_path, **changes)
        budget = budget_of(record, clock)
        taken = take(record)
        budget.trial_started(taken.number, taken.config, [])
        clock.now += 1500
        budget.epochs_done(taken.number, [{}], 0)
        clock.now += 1  # too soon for another write to the database
        budget.epochs_done(taken.number, [{}, {}], 1)
        spent.append(record.study.user_attrs[SPENT]["hours"] * 3600)
        record.close()  # killed
    assert spent == pytest.approx([1500, 3000, 4500])
    assert budget.reached() == "time"


def test_patience_begins_anew_with_added_trials_but_not_after_a_crash(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search__budget": {"no_improvement": 3}, "search__trials": 20}
    record = open_record(tmp_path, **changes)
    budget = budget_of(record, Clock())
    for score in (0.5, 0.4, 0.3):
        assert run_trial(record, budget, score) is None
    record.close()
    record = open_record(tmp_path, **changes)
    budget = budget_of(record, Clock())
    assert run_trial(record, budget, 0.1) == "no_improvement"
    budget = budget_of(record, Clock(), anew=True)
    assert budget.reached() is None
    assert [run_trial(record, budget, 0.2) for _ in range(3)] == [None, None, "no_improvement"]
