"""A search in plain lines."""

from dataclasses import replace

import pytest

from dann_search.results.lines import duration, headline, shown_trials, trial_lines
from tests.results.snapshots import row, snapshot_with


def test_the_headline_says_how_far_it_is() -> None:
    line = "11/20 trials done, 1 running   best F1 0.500 (trial 4)   searching"
    assert headline(snapshot_with()) == line
    assert headline(snapshot_with(), "about 3m05s left") == f"{line}   about 3m05s left"


def test_the_best_so_far_is_a_completed_trials_and_never_falls() -> None:
    snapshot = snapshot_with()
    higher = replace(snapshot, rows=[*snapshot.rows, row(12, "pruned", 3, 0.533)])
    assert "best F1 0.500 (trial 4)" in headline(higher)
    none = snapshot.status.model_copy(update={"completed": 0, "pruned": 1, "running": 0})
    before = replace(snapshot, status=none, rows=[row(0, "pruned", 3, 0.533)])
    assert "none completed, highest F1 0.533 (trial 0)" in headline(before)


def test_the_newest_eight_trials_that_are_over_are_shown_with_those_at_work() -> None:
    found = [trial[:4] for trial in shown_trials(snapshot_with())]
    assert found[0] == ("3", "completed", "12/12", "0.500")
    assert found[-1] == ("11", "running", "3/12", "0.250")
    assert len(found) == 9


def test_a_trial_that_ended_is_told_with_its_recipe_or_its_error() -> None:
    snapshot = snapshot_with()
    first, second = trial_lines(snapshot, snapshot.rows[0], "about 5s left")
    assert first.endswith(
        "trial 0 completed after 12 of 12 epochs, best F1 0.500 (11/20 done, about 5s left)"
    )
    assert "parameter_number_1=0.143" in second
    nothing_searched = replace(snapshot.rows[0], params={})
    assert trial_lines(snapshot, nothing_searched) == (first.replace(", about 5s left", ""),)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (185, "3m05s"), (7620, "2h07m")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
