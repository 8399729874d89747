"""One look at a search, in a console of any width."""

import io

import pytest
from rich.console import Console

from dann_search.tracking.board import Board, TrialLine, left_in_words, remaining_s

RECIPE = {f"parameter_number_{number}": number / 7 for number in range(9)}
BOARD = Board(
    label="F1",
    epochs=12,
    total=20,
    finished=11,
    running=[TrialLine(11, "running", 3, 0.25, RECIPE)],
    ended=[TrialLine(number, "completed", 12, 0.5, RECIPE) for number in range(11)],
    best=(4, 0.5),
    remarks=["elapsed 45s"],
)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_only_the_recipe_gives_way_in_a_narrow_console(width: int) -> None:
    text = io.StringIO()
    Console(file=text, width=width).print(BOARD.render())
    lines = text.getvalue().splitlines()
    assert lines[0].split()[:5] == ["trial", "state", "epoch", "best", "F1"]
    shown = [line.split()[:4] for line in lines[1:10]]
    assert shown[0] == ["3", "completed", "12/12", "0.500"]  # the newest eight of those over
    assert shown[-1] == ["11", "running", "3/12", "0.250"]
    assert all(len(line) <= width for line in lines)


def test_the_headline_says_how_far_it_is() -> None:
    line = "11/20 trials done, 1 running   best F1 0.500 (trial 4)   elapsed 45s"
    assert BOARD.headline() == line


def test_what_remains_is_estimated_from_the_epochs_trials_had() -> None:
    assert remaining_s(2.0, ended=[4, 8], running=[2, 7], waiting=3) == (4 + 0 + 18) / 2
    assert remaining_s(2.0, ended=[4], running=[], waiting=3) is None
    assert remaining_s(0.0, ended=[4, 8], running=[], waiting=3) is None
    assert left_in_words(185.0) == "about 3m05s left"
    assert left_in_words(None) == left_in_words(0.0) == ""
