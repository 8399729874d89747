"""What ends a search: at once, or after its finalists are confirmed."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dann_search.study.budget import Budget
from dann_search.study.study import StudyRecord
from tests.studies import open_record


def stopper_of(record: StudyRecord, clock: list[float]) -> Any:
    from dann_search.search.tune_run import SearchStopper

    budget = Budget(record.experiment.search.budget, record, clock=lambda: clock[0])
    fleet = cast(Any, SimpleNamespace(error=None, close=lambda pause: None))
    return SearchStopper(threading.Event(), budget, fleet)


def run(record: StudyRecord, stopper: Any, score: float) -> None:
    taken = record.next_trial()
    assert taken
    stopper.budget.trial_started(taken.number, taken.config, [])
    record.report(taken.number, [score])
    record.complete(taken.number)
    stopper.budget.trial_ended(taken.number, "completed", None)


@pytest.mark.parametrize(
    ("limit", "scores"), [({"target": 0.8}, (0.3, 0.9)), ({"no_improvement": 1}, (0.9, 0.3))]
)
def test_where_hours_are_left_the_finalists_are_confirmed_before_the_search_ends(
    tmp_path: Path, limit: dict[str, float], scores: tuple[float, float]
) -> None:
    record = open_record(
        tmp_path, search__trials=20, search__budget=limit, search__confirm={"top": 1, "seeds": 2}
    )
    stopper = stopper_of(record, [0.0])
    for score in scores:
        assert not stopper.stop_all()
        run(record, stopper, score)
    assert not stopper.stop_all()
    for _ in range(2):
        run(record, stopper, 0.1)
        assert not stopper.stop_all()
    assert record.next_trial() is None and record.proposals.is_exhausted
    assert (stopper.reason, stopper.last) == (None, next(iter(limit)))
    record.close()


def test_a_search_without_finalists_ends_at_once(tmp_path: Path) -> None:
    record = open_record(tmp_path, search__trials=20, search__budget={"target": 0.8})
    stopper = stopper_of(record, [0.0])
    run(record, stopper, 0.9)
    assert stopper.stop_all() and stopper.reason == "target"
    record.close()


def test_when_the_hours_are_spent_nothing_is_confirmed(tmp_path: Path) -> None:
    record = open_record(
        tmp_path,
        search__trials=20,
        search__budget={"hours": 1, "target": 0.8},
        search__confirm={"top": 1, "seeds": 2},
    )
    clock = [0.0]
    stopper = stopper_of(record, clock)
    run(record, stopper, 0.9)
    assert not stopper.stop_all()
    clock[0] = 3601.0
    assert stopper.stop_all() and stopper.reason == "time"
    record.close()
