"""What a search tells about its parameters, on studies whose answer is known."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import dann_search
from dann_search.cli import main
from dann_search.results import insight
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from tests.json_output import printed
from tests.studies import open_record

SPACE: dict[str, Any] = {
    "optimizer": {"choice": ["sgd", "adamw"]},
    "momentum": {"uniform": [0, 0.9]},
    "lambda_max": {"uniform": [0, 1]},
    "translation": {"uniform": [0, 0.5]},
}


def searched(tmp_path: Path, trials: int, completed: int) -> ExperimentFolder:
    """Scores depend on lambda_max strongly, on momentum (sgd's alone) a little, on nothing else."""
    tmp_path.mkdir(exist_ok=True)
    record = open_record(
        tmp_path, space=SPACE, search__trials=trials, search__published_first=False
    )
    run(record, completed)
    record.close()
    return ExperimentFolder(tmp_path / "runs" / "small")


def run(record: StudyRecord, completed: int) -> None:
    """Until the total is reached; those from number ``completed`` on are stopped early."""
    while taken := record.next_trial():
        values = record.space.active(taken.config.model_dump())
        score = 0.8 * values["lambda_max"] + 0.1 * values.get("momentum", 0.45)
        done = taken.number < completed
        record.report(taken.number, [score / 2, score, score][: 3 if done else 2])
        (record.complete if done else record.prune)(taken.number)


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """Forty completed trials; read only."""
    return searched(tmp_path_factory.mktemp("forty"), trials=40, completed=40)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """Thirty trials in a narrow range, then twenty in a wider one; read only."""
    root = tmp_path_factory.mktemp("grown")
    changes: dict[str, Any] = {"search__trials": 30, "search__published_first": False}
    narrow = {**SPACE, "lambda_max": {"uniform": [0.4, 0.6]}}
    record = open_record(root, space=narrow, **changes)
    run(record, 100)
    record.close()
    record = open_record(root, space=SPACE, allow_wider=True, **changes)
    record.proposals.add_trials(20)
    run(record, 100)
    record.close()
    return ExperimentFolder(root / "runs" / "small")


@pytest.mark.parametrize("method", ["fanova", "ped_anova"])
def test_the_parameter_that_matters_comes_first_also_in_a_range_that_grew(
    forty: ExperimentFolder, grown: ExperimentFolder, method: Any
) -> None:
    found = dann_search.Experiment.open(forty.root).importance(method)
    assert found.compared == "40 completed trials"
    names = [parameter.name for parameter in found.parameters]
    assert names[0] == "lambda_max" and set(names) == set(SPACE)
    by_name = {parameter.name: parameter for parameter in found.parameters}
    first, last = by_name["lambda_max"].importance, by_name["translation"].importance
    assert first is not None and last is not None and first > 0.5 > last
    assert by_name["momentum"].conditional and not by_name["lambda_max"].conditional
    assert by_name["momentum"].trials < 40
    found = insight.importance(grown, method)
    assert found.parameters[0].name == "lambda_max" and found.parameters[0].trials == 50


def test_of_thousands_of_trials_some_stand_for_all_and_one_computation_for_many_parameters(
    forty: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, sizes = insight._importances, []

    def counted(trials: list[Any], method: Any) -> Any:
        sizes.append(len(trials))
        return compute(trials, method)

    monkeypatch.setattr(insight, "_importances", counted)
    monkeypatch.setattr(insight, "MOST_COMPARED", 20)
    found = insight.importance(forty, "ped_anova")
    # momentum is sgd's alone; the other three are told apart in one computation.
    assert len(sizes) == 2 and max(sizes) == 20
    assert found.parameters[0].name == "lambda_max" and found.parameters[0].trials == 20
    assert found.compared == "40 completed trials, of which 20, evenly taken, stand for all"


def test_items_are_taken_at_equal_distances() -> None:
    assert insight.evenly(range(10), 4) == [0, 2, 5, 7]
    assert insight.evenly(range(3), 4) == [0, 1, 2] and insight.evenly([], 4) == []


def test_few_completed_trials_are_compared_at_an_epoch_all_share_and_fewer_say_nothing(
    tmp_path: Path,
) -> None:
    folder = searched(tmp_path / "few", trials=20, completed=3)
    found = insight.importance(folder, "ped_anova")
    assert found.compared == "20 trials by their best score within 2 epochs, which all had"
    assert found.parameters[0].name == "lambda_max"
    found = insight.importance(searched(tmp_path / "fewer", trials=3, completed=3))
    assert {parameter.importance for parameter in found.parameters} == {None}


def test_slices_and_history_hold_every_trial(tmp_path: Path) -> None:
    experiment = dann_search.Experiment.open(searched(tmp_path, trials=12, completed=9).root)
    rows = {row.number: row for row in experiment.trials()}
    slices = experiment.slices()
    assert {len(slices[name]) for name in ("lambda_max", "optimizer", "translation")} == {12}
    assert len(slices["momentum"]) == sum("momentum" in row.params for row in rows.values())
    for point in slices["lambda_max"]:
        row = rows[point.trial]
        assert (point.value, point.score, point.state) == (
            row.params["lambda_max"],
            row.score,
            row.state,
        )
    history = experiment.history()
    assert [point.trial for point in history] == list(range(12))
    best = [point.best_so_far for point in history]
    completed = [row.score for row in rows.values() if row.state == "completed"]
    assert best == sorted(best) and best[-1] == max(s for s in completed if s is not None)


def test_the_dashboard_shows_the_study_on_the_loopback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = searched(tmp_path, trials=3, completed=2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["dashboard", str(folder.root), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "dann_search.cli", *command, "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        told = printed("dashboard", process.stdout.readline())
        assert told["url"] == f"http://127.0.0.1:{port}/"
        deadline = time.monotonic() + 30
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=30) as answer:
            assert '"study_name": "small"' in answer.read().decode()
        # Of another process than the server's: this one.
        assert main(command) == 1
        assert "try another with --port" in capsys.readouterr().err
        assert time.monotonic() < deadline
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stdout and process.stdout.read() == ""  # one object, no second one
