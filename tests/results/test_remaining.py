"""How long a search is said to take still."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from dann_search.results.remaining import Pace, epochs_left, survival
from tests.results.recorded import RECORDED, moments
from tests.results.snapshots import row, snapshot_with


def ratios(file: Path) -> list[float]:
    """Return what was promised as shares of what was left, from a third of the run on."""
    found = moments(json.loads(file.read_text()))
    return [one.promised / one.left for one in found if one.share >= 1 / 3 and one.promised]


def test_recorded_searches_are_promised_neither_half_nor_twice_what_is_left() -> None:
    medians = [statistics.median(ratios(file)) for file in sorted(RECORDED.glob("*.json"))]
    assert len(medians) == 5
    assert all(0.55 < one < 1.5 for one in medians), medians
    assert statistics.median(medians) == pytest.approx(1.0, abs=0.25)


def test_recorded_searches_are_promised_what_is_left_within_a_third() -> None:
    errors = [
        statistics.median(abs(ratio - 1) for ratio in ratios(file))
        for file in sorted(RECORDED.glob("*.json"))
    ]
    assert all(error < 0.37 for error in errors) and statistics.mean(errors) < 0.3, errors


def test_half_of_a_search_outweighs_what_is_known_of_the_pruner() -> None:
    assert survival([row(0, "completed", 4, 0.5)], 4, {2: 0.5}, weight=0) == [1.0] * 4
    assert survival([row(0, "completed", 4, 0.5)], 4, {2: 0.5}, weight=1) == [1, 1, 0.75, 0.75]


def test_trials_that_still_run_count_as_far_as_they_have_come() -> None:
    over = [row(0, "pruned", 1, 0.5), row(1, "completed", 4, 0.5)]
    running = [row(2, "running", 3, 0.5), row(3, "running", 0, 0.5)]
    assert survival([*over, *running], 4, {}) == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3])
    assert epochs_left(running[1], [1.0, 0.5, 0.5, 0.25], 4) == 2.25
    assert epochs_left(running[0], [1.0, 0.5, 0.5, 0.25], 4) == 1.0


def test_what_the_pruner_will_do_counts_before_it_has_done_it() -> None:
    assert survival([], 4, {2: 0.5}) == [1.0, 1.0, 0.5, 0.5]


def test_trials_that_confirm_a_finalist_are_never_stopped() -> None:
    confirming = replace(row(9, "running", 1, 0.5), confirms=3)
    assert epochs_left(confirming, [1.0, 0.5, 0.5, 0.5], 4) == 3


def test_nothing_is_promised_before_the_search_reports() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    snapshot = snapshot_with()
    assert pace.left_s(snapshot) is None
    reporting = replace(snapshot, reported=1.0)
    assert pace.left_s(reporting) is None
    now = 10.0
    further = [*snapshot.rows[:-1], replace(snapshot.rows[-1], epochs=5)]
    # Two epochs in ten seconds: seven of the running trial, then twelve of each of eight others.
    assert pace.left_s(replace(reporting, rows=further)) == pytest.approx((7 + 8 * 12) * 5)


def test_the_trainings_that_confirm_finalists_are_still_to_come() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    snapshot = replace(snapshot_with(), reported=1.0, to_confirm=2)
    pace.left_s(snapshot)
    now = 10.0
    further = replace(snapshot, rows=[*snapshot.rows[:-1], replace(snapshot.rows[-1], epochs=5)])
    assert pace.left_s(further) == pytest.approx((7 + 10 * 12) * 5)
