"""The order of trials, and the table every trial is in."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from rich.console import Console
from rich.text import Text

from dann_search import load_model
from dann_search.cli import main, tables
from dann_search.inference.best import write_best
from dann_search.outputs.trials import Leaderboard
from dann_search.results.leaderboard import leaderboard, ranked, write_csv
from dann_search.results.lines import alike
from dann_search.results.reader import read_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.checkpoint import BEST, load_checkpoint
from tests.experiments import tiny_space_file
from tests.finished_experiment import search_file
from tests.json_output import printed


def shown(board: Leaderboard, width: int = 100) -> str:
    """The table as a terminal of so many columns shows it."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    for item in tables.leaderboard(board):
        console.print(item, soft_wrap=isinstance(item, Text))
    return text.getvalue()


def test_completed_trials_stand_above_a_stopped_one_with_a_higher_score(
    searched: ExperimentFolder,
) -> None:
    rows = ranked(read_trials(searched))
    assert [row.state for row in rows] == ["completed", "completed", "pruned", "failed"]
    assert [row.number for row in rows[2:]] == [1, 3]
    scores = [row.f1_macro_val or 0 for row in rows]
    assert scores[0] >= scores[1] and scores[2] == 0.99


def test_the_first_is_what_plain_optuna_calls_best(searched: ExperimentFolder) -> None:
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{searched.study}")
    first = ranked(read_trials(searched))[0]
    assert (study.best_trial.number, study.best_value) == (first.number, first.f1_macro_val)


def test_a_conditional_parameter_is_blank_where_it_does_not_apply(
    experiment: ExperimentFolder,
) -> None:
    write_csv(experiment)
    rows = list(csv.DictReader(experiment.leaderboard.read_text().splitlines()))
    assert len(rows) == 4
    for row in rows:
        assert (row["lambda_gamma"] == "") == (row["lambda_schedule"] == "constant")
        assert row["unfrozen_depth"] in "123"
    assert {row["lambda_schedule"] for row in rows} == {"constant", "ganin"}
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]


def test_the_json_has_every_field_of_the_contract(searched: ExperimentFolder) -> None:
    board = leaderboard(searched).model_dump(mode="json")
    first = board["trials"][0]
    assert {"trial", "state", "f1_macro_val", "epochs", "config"} <= first.keys()
    assert first["epochs"] == 2 and first["config"]["backbone"] == "dann_cnn"
    assert first["config"] == read_trials(searched)[first["trial"]].config
    assert board["trials"][3]["error"] == "the loss became nan in epoch 1"


def test_the_table_shows_errors_and_where_values_are_from_and_brackets_as_they_are(
    searched: ExperimentFolder,
) -> None:
    board = leaderboard(searched)
    assert "0.990" in shown(board) and "the loss became nan" in shown(board)
    odd = [{"origin": "tllib"}, {"error": "[/red] no such [class]"}]
    rows = [board.trials[0].model_copy(update=one) for one in odd]
    text = shown(board.model_copy(update={"trials": rows}))
    assert "[tllib] " in text and "[/red] no such [class]" in text


@pytest.mark.parametrize("width", [40, 80, 140])
def test_each_trial_has_one_line_whatever_the_width(searched: ExperimentFolder, width: int) -> None:
    board = leaderboard(searched)
    text = shown(board, width)
    lines = text.splitlines()
    assert len(lines) == 1 + len(board.trials) + bool(alike([one.searched for one in board.trials]))
    rows = [line for line in lines if line.split()[0].isdigit()]
    assert [int(row.split()[0]) for row in rows] == [one.trial for one in board.trials]
    assert all(len(row.rstrip()) <= width for row in rows)
    assert "completed" in text and "epochs" in text


def test_what_is_the_same_in_all_trials_comes_once(searched: ExperimentFolder) -> None:
    board = leaderboard(searched)
    alike = [
        one.model_copy(update={"searched": {"a": 1, "b": n}})
        for n, one in enumerate(board.trials[:2])
    ]
    text = shown(board.model_copy(update={"trials": alike}))
    assert text.count("a=1") == 1 and "b=0" in text and "b=1" in text


def test_trials_are_chosen_sorted_and_shown_by_the_columns_asked_for(
    searched: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["leaderboard", str(searched.root)]
    chosen = ["--where", "state!=failed", "--sort", "learning_rate:desc"]
    assert main([*words, *chosen, "--json"]) == 0
    found = printed("leaderboard", capsys.readouterr().out)["trials"]
    rates = [one["config"]["learning_rate"] for one in found]
    assert len(rates) == 3 and rates == sorted(rates, reverse=True)
    assert main([*words, "--where", "epochs>=2", "--columns", "learning_rate,batch_size"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["learning_rate", "batch_size"]
    assert all(row.split()[-1] == "64" for row in rows)
    assert main([*words, "--sort", "lerning_rate"]) == 2
    assert "did you mean 'learning_rate'" in capsys.readouterr().err
    assert main([*words, "--where", "epochs"]) == 2
    assert "--where epochs: expected NAME=VALUE" in capsys.readouterr().err


def test_nothing_is_broken_or_cut_in_a_pipe(
    searched: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["leaderboard", str(searched.root)]) == 0
    text = capsys.readouterr().out
    assert "…" not in text and "the loss became nan in epoch 1" in text


def test_another_objective_orders_trials_and_chooses_the_epoch(
    tmp_path: Path, tiny_images: Path
) -> None:
    folder = search_file(tiny_space_file(tmp_path, tiny_images, search__objective="entropy"))
    rows = ranked(read_trials(folder))
    completed = [row for row in rows if row.state == "completed"]
    scores = [row.score or 0.0 for row in completed]
    assert scores == sorted(scores, reverse=True) and len(scores) == 2
    for row in completed:
        best = load_checkpoint(folder.trial(row.number) / BEST).history[-1]
        assert (row.best_epoch, row.f1_macro_val) == (best.epoch, best.f1_macro_val)
        assert row.score == best.validators["entropy"]
        assert row.validators == best.validators
    record = load_model(write_best(folder).folder).record
    assert (record["objective"], record["trial"]) == ("entropy", completed[0].number)
    assert record["validators"]["entropy"] == scores[0]
    assert shown(leaderboard(folder)).split()[:5] == ["trial", "state", "entropy", "F1", "val"]


def test_of_many_trials_people_see_the_best_and_scripts_see_all(
    searched: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ranked(read_trials(searched))[0]
    rows = [replace(row, number=number) for number in range(1000, 4000)]
    monkeypatch.setattr("dann_search.results.leaderboard.read_trials", lambda folder: rows)
    assert main(["leaderboard", str(searched.root)]) == 0
    text = capsys.readouterr().out
    assert "1049" in text and "1050" not in text
    assert "the first 50 of 3000 trials; all: --top 3000" in text
    assert main(["leaderboard", str(searched.root), "--top", "60"]) == 0
    text = capsys.readouterr().out
    assert "1059" in text and "1060" not in text and "the best" not in text
    assert main(["leaderboard", str(searched.root), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 3000
