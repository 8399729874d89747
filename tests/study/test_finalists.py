"""The best trials, trained again with new seeds, are ranked by the mean of those."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from dann_search.cli import main
from dann_search.outputs.shared import Confirmation
from dann_search.results.leaderboard import finished, leaderboard, ranked
from dann_search.results.reader import read_trials
from dann_search.results.rows import confirmation_of
from dann_search.results.status import status
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import CONFIRMS, SEED
from tests.json_output import printed
from tests.studies import finish, finish_all, folder_of, open_record, take

CONFIRM: dict[str, Any] = {
    "search__trials": 4,
    "search__confirm": {"top": 2, "seeds": 2},
    "training__seed": 7,
}
SEARCHED = [0.5, 0.9, 0.1, 0.8]
AGAIN = {1: [0.3, 0.5], 3: [0.7, 0.8]}


def search(record: StudyRecord) -> None:
    for score in SEARCHED:
        assert finish(record, score).config.seed == 7


def test_finalists_are_trained_with_new_seeds_once_all_others_have_ended(tmp_path: Path) -> None:
    record = open_record(tmp_path, **CONFIRM)
    running = [record.next_trial() for _ in range(4)]
    assert (record.next_trial(), record.proposals.is_exhausted) == (None, False)
    for taken, score in zip(running, SEARCHED, strict=True):
        finish(record, score, taken)
    again = [record.next_trial() for _ in range(4)]
    assert (record.next_trial(), record.proposals.is_exhausted) == (None, True)
    configs = [one.config for one in again if one]
    assert [config.seed for config in configs] == [8, 9, 8, 9]
    for config, origin in zip(configs, [1, 1, 3, 3], strict=True):
        first = running[origin]
        assert first
        assert config.model_copy(update={"seed": 7}) == first.config


def test_the_winner_has_the_best_mean_not_the_best_seed(tmp_path: Path) -> None:
    record = open_record(tmp_path, **CONFIRM)
    search(record)
    for score in (*AGAIN[1], *AGAIN[3]):
        finish(record, score)
    assert record.tally.counts().completed == 4
    record.close()
    folder = folder_of(tmp_path)
    rows = read_trials(folder)
    assert [row.number for row in finished(rows)] == [3, 1, 0, 2]
    assert [row.number for row in ranked(rows)] == [3, 1, 0, 2, 7, 6, 5, 4]
    best = leaderboard(folder).trials[0].confirmed
    assert best.mean == pytest.approx(0.75)
    assert best.values == AGAIN[3]
    assert status(folder).completed == 4


def test_a_lucky_new_seed_is_not_the_studys_best_trial(tmp_path: Path) -> None:
    record = open_record(tmp_path, **CONFIRM, search__study="sqlite")
    search(record)
    # One was asked for when a crash came, before anything else was written to it.
    record.study.enqueue_trial(record.study.trials[1].params, user_attrs={CONFIRMS: 1, SEED: 8})
    record.study.ask()
    record.close()
    record = open_record(tmp_path, **CONFIRM, search__study="sqlite")
    finish_all(record, 0.95)
    record.close()
    folder = folder_of(tmp_path)
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{folder.study}")
    assert len(study.trials) == 8
    assert study.best_trial.number == finished(read_trials(folder))[0].number == 1


def test_a_confirmation_cut_off_by_a_crash_goes_on_with_its_seed(tmp_path: Path) -> None:
    record = open_record(tmp_path, **CONFIRM)
    search(record)
    before = record.next_trial()
    record.close()
    record = open_record(tmp_path, **CONFIRM)
    assert not record.proposals.is_complete
    assert record.next_trial() == before
    assert before and before.config.seed == 8


def test_a_confirmation_is_never_stopped_early(tmp_path: Path) -> None:
    changes = {**CONFIRM, "search__scheduler": "asha", "training__epochs": 9}
    record = open_record(tmp_path, **changes)
    search(record)
    taken = record.next_trial()
    assert taken
    record.report(taken.number, [0.0, 0.0])
    assert not record.should_stop(taken.number)


def test_a_search_that_ends_early_confirms_its_finalists_once_none_runs(tmp_path: Path) -> None:
    record = open_record(tmp_path, **{**CONFIRM, "search__trials": 20})
    search(record)
    running = record.next_trial()
    assert running
    record.proposals.end_early()
    assert (record.next_trial(), record.proposals.is_exhausted) == (None, False)
    finish(record, 0.2, running)
    assert [taken.config.seed for taken in finish_all(record, 0.6)] == [8, 9, 8, 9]
    assert record.proposals.is_complete and record.tally.counts().completed == 5
    record.close()
    assert not open_record(tmp_path, **{**CONFIRM, "search__trials": 20}).proposals.is_complete


def test_added_trials_may_bring_new_finalists(tmp_path: Path) -> None:
    record = open_record(tmp_path, **CONFIRM)
    search(record)
    for _ in range(4):
        finish(record, 0.6)
    assert record.proposals.is_complete
    record.proposals.add_trials(1)
    taken = finish(record, 0.95)
    assert (taken.number, taken.config.seed) == (8, 7)
    assert [taken.config.seed for taken in finish_all(record, 0.6)] == [8, 9]


def test_a_finalist_with_some_of_its_seeds_does_not_win_by_them(tmp_path: Path) -> None:
    record = open_record(tmp_path, **CONFIRM)
    search(record)
    taken = [record.next_trial() for _ in range(4)]
    folder = folder_of(tmp_path)
    for done, (one, score) in enumerate(zip(taken, (0.3, 0.5, 0.99, 0.8), strict=True)):
        rows = read_trials(folder)
        # Trial 3 has a higher mean with its first seed alone: that does not count yet.
        assert [row.number for row in finished(rows)] == [1, 3, 0, 2]
        found = status(folder)
        assert found.confirmation == confirmation_of(record.experiment, rows)
        assert found.confirmation == Confirmation(done=done, of=4)
        assert (found.state, found.best and found.best.trial) == ("interrupted", 1)
        finish(record, score, one)
    rows = read_trials(folder)
    assert [row.number for row in finished(rows)] == [3, 1, 0, 2]
    found = status(folder)
    assert (found.state, found.confirmation) == ("done", Confirmation(done=4, of=4))
    assert record.proposals.is_complete
    record.close()


def test_the_confirmation_is_whole_when_the_search_has_nothing_left_to_train(
    tmp_path: Path,
) -> None:
    """Search and results choose the finalists each for itself: they must choose the same."""
    record = open_record(tmp_path, **CONFIRM)
    folder = folder_of(tmp_path)
    scores = [0.5, 0.9, 0.9, 0.9, 0.1, 0.2, 0.3, 0.4]  # a tie of three for two places
    for number, score in enumerate(scores):
        assert not record.proposals.is_complete
        taken = take(record)
        if number == 6:
            record.fail(taken.number, "it diverged")  # over, and not tried again
        else:
            finish(record, score, taken)
        found = confirmation_of(record.experiment, read_trials(folder))
        assert found and found.is_whole == record.proposals.is_complete
    # Of trial 2 one seed is left; more trials bring a finalist that lacks its own.
    assert [row.number for row in finished(read_trials(folder))] == [2, 1, 3, 0]
    record.proposals.add_trials(1)
    finish(record, 0.95)
    assert [row.number for row in finished(read_trials(folder))] == [8, 1, 2, 3, 0]
    record.close()


def test_console_and_json_say_that_the_confirmation_is_incomplete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = open_record(tmp_path, **CONFIRM)
    search(record)
    finish(record, 0.1)
    record.close()
    folder = str(folder_of(tmp_path))
    for command in ("leaderboard", "status"):
        assert main([command, folder]) == 0
        assert "confirmation incomplete: 1 of 4 trainings" in capsys.readouterr().out
        assert main([command, folder, "--json"]) == 0
        content = printed(command, capsys.readouterr().out)
        assert content["confirmation"] == {"done": 1, "of": 4}
