"""The numbers of the live table."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dann_search.config.load import load_experiment
from dann_search.config.space import Space
from dann_search.models.registry import stage_counts
from dann_search.tracking.progress import LiveTable, PlainLines, SearchProgress, duration
from tests.experiments import space_file


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return load_experiment(space_file(tmp_path), stage_counts())[1]


def history(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": i, "f1_macro_val": score} for i, score in enumerate(scores, 1)]


def play(progress: SearchProgress, space: Space) -> None:
    progress.trial_started(0, space.fixed, [])
    progress.epochs_done(0, history(0.2, 0.6, 0.5), 0)
    progress.trial_ended(0, "completed", None)
    progress.trial_started(1, space.fixed, [])
    progress.epochs_done(1, history(0.7), 0)
    progress.trial_ended(1, "pruned", None)
    progress.trial_started(2, space.fixed, [0.1])
    progress.trial_started(3, space.fixed, [])
    progress.trial_ended(3, "failed", "the loss became nan")


def test_the_best_is_of_completed_trials_and_of_its_best_epoch(space: Space) -> None:
    progress = SearchProgress(space, 8, 2, None)
    play(progress, space)
    assert progress.best is not None and progress.best[:2] == (0, 0.6)
    assert progress.finished == 5
    remaining = progress.remaining_s
    assert remaining is not None and remaining > 0


def test_the_best_of_an_earlier_run_stays_until_it_is_beaten(space: Space) -> None:
    progress = SearchProgress(space, 8, 2, (9, 0.65))
    play(progress, space)
    assert progress.best is not None and progress.best[:2] == (9, 0.65)


def test_plain_lines_name_each_trial_its_state_and_its_error(space: Space) -> None:
    text = io.StringIO()
    play(PlainLines(Console(file=text, width=80), space, 8, 0, None), space)
    lines = text.getvalue().splitlines()
    assert "trial 0 completed after 3 of 3 epochs, best F1 0.600 (1/8 done)" in lines[0]
    assert "lambda_schedule=ganin" in lines[1]
    assert "trial 3 failed after 0 of 3 epochs" in lines[4]
    assert lines[5].strip() == "the loss became nan"


def test_the_live_table_shows_running_trials_and_the_headline(space: Space) -> None:
    text = io.StringIO()
    console = Console(file=text, width=120, force_terminal=True)
    table = LiveTable(console, space, 8, 0, None)
    play(table, space)
    console.print(table.render())
    table.close()
    shown = text.getvalue()
    assert "3/8 trials done, 1 running" in shown and "best F1 0.600 (trial 0)" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (185, "3m05s"), (7620, "2h07m")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
