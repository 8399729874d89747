"""A search by a label-free objective: one rule of best wherever it is asked."""

import csv
from pathlib import Path

import pytest

import dann_search
from dann_search.results.leaderboard import ranked
from dann_search.results.reader import read_trials
from dann_search.search.in_process import InProcessExecutor
from tests.experiments import saved_history, study_trials, tiny_space_file


def test_a_validator_chooses_epoch_trial_and_model(
    tmp_path: Path, tiny_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dann_search.api.RayExecutor", lambda address: InProcessExecutor())
    changes = {"search__objective": "bnm", "search__trials": 3}
    path = tiny_space_file(tmp_path, tiny_images, **changes)
    result = dann_search.launch(path)
    folder = result.outcome.folder
    values = {}
    for trial in study_trials(folder):
        history = saved_history(folder, trial.number)
        scores = [epoch["validators"]["bnm"] for epoch in history]
        assert list(trial.intermediate_values.values()) == scores
        assert trial.value == max(scores)
        best = history[scores.index(max(scores))]
        values[trial.number] = (max(scores), best["f1_macro_val"], best["epoch"])
    winner = max(values, key=lambda number: (values[number][0], -number))
    first = ranked(read_trials(folder))[0]
    assert (first.number, first.score, first.f1_macro_val, first.best_epoch) == (
        winner,
        *values[winner],
    )
    assert result.best == first and result.objective == "bnm"
    record = dann_search.load_model(folder.best).record
    assert (record["trial"], record["epoch"], record["objective"]) == (
        winner,
        values[winner][2],
        "bnm",
    )
    rows = list(csv.DictReader(folder.leaderboard.read_text().splitlines()))
    assert int(rows[0]["trial"]) == winner and float(rows[0]["bnm"]) == values[winner][0]
