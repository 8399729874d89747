"""What ``status`` tells of an experiment, and ``status --watch`` of one that others search."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from dann_search.cli import main
from dann_search.cli.tables import Live
from dann_search.cli.watch import LiveView, watch
from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.models.registry import stage_counts
from dann_search.results.lines import LinesView, headline, shown_trials, state_in_words
from dann_search.results.status import Snapshot, snapshot, status
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import STOPPED_BY
from tests.drivers import LIMIT_S
from tests.experiments import space_file
from tests.json_output import printed


def laid_out(tmp_path: Path, **changes: Any) -> tuple[ExperimentFolder, Callable[[], StudyRecord]]:
    """An experiment before its first trial, without images, and how its driver opens the study."""
    experiment, space = load_experiment(space_file(tmp_path, **changes), stage_counts())
    folder = ExperimentFolder.at(experiment.place)
    folder.root.mkdir(parents=True)
    record = {"experiment": experiment.model_dump(mode="json"), "versions": {}, "data": {}}
    folder.record.write_text(yaml.safe_dump(record))
    return folder, lambda: StudyRecord(experiment, space, folder)


def run_trials(record: StudyRecord, count: int) -> None:
    for _ in range(count):
        trial = record.next_trial()
        assert trial
        record.report(trial.number, [0.3, 0.5, 0.4])
        record.complete(trial.number)


def test_an_experiment_is_done_when_it_has_all_its_trials(tmp_path: Path) -> None:
    folder, open_record = laid_out(tmp_path)
    assert status(folder).state == "interrupted"
    record = open_record()
    run_trials(record, 3)
    assert status(folder).state == "interrupted"
    run_trials(record, 1)
    found = status(folder)
    assert (found.state, found.finished, found.total) == ("done", 4, 4)
    record.proposals.add_trials(2)
    assert status(folder).total == 4
    record.proposals.keep_total()
    assert (status(folder).state, status(folder).total) == ("interrupted", 6)
    record.close()


def test_a_spent_budget_is_an_end_and_an_interrupt_is_none(tmp_path: Path) -> None:
    folder, open_record = laid_out(tmp_path)
    record = open_record()
    run_trials(record, 1)
    record.next_trial()
    said = {"time": "done: its hours are spent", "interrupt": "interrupted", None: "interrupted"}
    for reason, words in said.items():
        record.study.set_user_attr(STOPPED_BY, reason)
        found = status(folder)
        assert state_in_words(found) == words
        assert (found.completed, found.running) == (1, 1)
    record.close()


def test_a_driver_at_work_is_searching_with_its_trials_epochs(tmp_path: Path) -> None:
    folder, open_record = laid_out(tmp_path)
    record = open_record()
    run_trials(record, 1)
    trial = record.next_trial()
    assert trial
    record.report(trial.number, [0.2, 0.7])
    with DriverLock(folder):
        found = snapshot(folder)
    record.close()
    assert found.status.state == "searching"
    content = printed("status", found.status.model_dump_json())
    assert content["running_trials"] == [
        {"trial": 1, "epochs": 2, "f1_macro_val": 0.7, "confirms": None}
    ]
    assert content["best"]["trial"] == 0
    shown = io.StringIO()
    Console(file=shown, width=120).print(Live(found))
    assert "2/3" in shown.getvalue() and "1/4 trials done, 1 running" in shown.getvalue()
    assert [one[1] for one in shown_trials(snapshot(folder))] == ["completed", "unfinished"]


def test_of_a_running_trial_the_checkpoint_is_the_last_report_and_the_score_is_no_best(
    tmp_path: Path,
) -> None:
    folder, open_record = laid_out(tmp_path)
    record = open_record()
    trial = record.next_trial()
    assert trial
    assert status(folder).last_report_s is None
    checkpoint = folder.trial(trial.number) / "last.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    os.utime(checkpoint, (time.time() - 90, time.time() - 90))
    since = status(folder).last_report_s
    assert since is not None and 89 < since < 99
    record.report(trial.number, [0.2])
    assert "none completed, highest F1 0.200 (trial 0)" in headline(snapshot(folder))
    assert status(folder).best is None
    record.report(trial.number, [0.2, 0.1, 0.3])
    record.complete(trial.number)
    since = status(folder).last_report_s
    assert since is not None and since < 30
    record.close()


def test_a_grid_has_no_more_trials_than_points(tmp_path: Path) -> None:
    folder, open_record = laid_out(
        tmp_path,
        search={"trials": 50, "sampler": "grid", "scheduler": "none"},
        space={"lambda_schedule": {"choice": ["constant", "ganin"]}},
    )
    record = open_record()
    assert record.proposals.total == status(folder).total < 50
    record.close()


WRITER = """
import sys
from pathlib import Path
from dann_search.config.load import load_experiment
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.models.registry import stage_counts
from dann_search.study.study import StudyRecord

experiment, space = load_experiment(Path(sys.argv[1]), stage_counts())
folder = ExperimentFolder.at(experiment.place)
with DriverLock(folder):
    record = StudyRecord(experiment, space, folder)
    print("ready", flush=True)
    for line in sys.stdin:
        exec(line)
        print("done", flush=True)
"""
"""A driver that does what it is told, a line of Python at a time."""


class Writer:
    """The driver's process."""

    def __init__(self, file: Path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def tell(self, *lines: str) -> None:
        for line in lines:
            assert self.process.stdin
            self.process.stdin.write(f"record.{line}\n")
            self.process.stdin.flush()
            assert self.answer() == "done"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_a_search_of_another_process_is_followed_until_it_is_killed(tmp_path: Path) -> None:
    folder, _ = laid_out(tmp_path)
    writer = Writer(tmp_path / "space.yaml")
    acts: list[Callable[[], None]] = [
        lambda: writer.tell("next_trial()", "next_trial()", "report(0, [0.25])"),
        lambda: writer.tell("report(0, [0.25, 0.5])", "report(1, [0.1])"),
        lambda: writer.tell("report(0, [0.25, 0.5, 0.4])", "complete(0)"),
        lambda: writer.tell("fail(1, 'the loss became nan')"),
        lambda: writer.tell("next_trial()"),
        writer.kill,
    ]
    looks: list[Snapshot] = []

    def read() -> Sequence[Snapshot]:
        looks.append(snapshot(folder))
        if acts:
            acts.pop(0)()
        return looks[-1:]

    text = io.StringIO()
    with writer.process:
        watch(read, LinesView(text), interval=0.01)
    epochs = [[row.epochs for row in look.running] for look in looks]
    assert epochs[:6] == [[], [1, 0], [2, 1], [1], [], [0]]
    assert [look.status.state for look in looks] == ["searching"] * 6 + ["interrupted"] * 2
    assert [one.status.best and one.status.best.trial for one in looks[:4]] == [None, None, None, 0]
    first, ended, recipe, failed, error, last = text.getvalue().splitlines()
    assert first.startswith("0/4 trials done, 0 running   searching")
    assert "trial 0 completed after 3 of 3 epochs, best F1 0.500 (1/4 done" in ended
    assert "learning_rate=" in recipe
    assert "trial 1 failed after 1 of 3 epochs" in failed
    assert error.strip() == "the loss became nan"
    assert last.startswith("2/4 trials done, 1 running   best F1 0.500 (trial 0)   interrupted")


def test_a_terminal_gets_the_searchs_own_table(tmp_path: Path) -> None:
    folder, open_record = laid_out(tmp_path)
    record, driver = open_record(), ExitStack()
    record.next_trial()
    record.report(0, [0.25, 0.5])
    driver.enter_context(DriverLock(folder))
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    looks: list[Snapshot] = []

    def read() -> Sequence[Snapshot]:
        looks.append(snapshot(folder))
        if len(looks) == 2:
            driver.close()
        return looks[-1:]

    view = LiveView(console)
    watch(read, view, interval=0.4)
    table = text.getvalue()
    assert "running" in table and "2/3" in table and "highest F1 0.500 (trial 0)" in table
    console.print(view.render())
    assert "unfinished" in text.getvalue() and "interrupted" in text.getvalue()
    record.close()


def test_watching_a_finished_experiment_ends_at_once(
    searched: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["status", str(searched.root), "--watch", "--interval", "3600"]
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert printed("status", captured.out)["state"] == "done"
    assert "4/4 trials done" in captured.err
    assert main(words) == 0
    assert "4/4" in capsys.readouterr().out


def test_all_experiments_are_watched_together(
    searched: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(searched.root.parents[1])
    assert main(["status", "--watch", "--json"]) == 0
    captured = capsys.readouterr()
    (one,) = printed("status", captured.out)["experiments"]
    assert one["failures"] == [{"trial": 3, "error": "the loss became nan in epoch 1"}]
    assert captured.err.startswith("small: 4/4 trials done")


def test_ctrl_c_ends_watching_with_the_state_as_it_is(experiment: ExperimentFolder) -> None:
    command = [sys.executable, "-m", "dann_search.cli", "status", str(experiment.root)]
    with DriverLock(experiment):
        process = subprocess.Popen(
            [*command, "--watch", "--json", "--interval", "0.2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        assert "searching" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert printed("status", out)["state"] == "searching"
    assert "Traceback" not in error


def test_a_study_that_is_lost_or_empty_is_said_and_left_as_it_is(tmp_path: Path) -> None:
    folder, open_record = laid_out(tmp_path)
    open_record().close()
    folder.trial(0).mkdir(parents=True)
    folder.study.unlink()
    with pytest.raises(InputError, match=r"the study 'small' is not there, but .* 1 of its trials"):
        status(folder)
    folder.study.touch()
    with pytest.raises(InputError, match=r"study.db cannot be read: no such table"):
        status(folder)
    assert folder.study.stat().st_size == 0


def test_a_storage_folder_may_have_any_name(tmp_path: Path) -> None:
    name = "what?now per%20cent a#b $"
    folder, open_record = laid_out(tmp_path, storage=str(tmp_path / name))
    record = open_record()
    run_trials(record, 4)
    record.close()
    assert (status(folder).state, folder.study.parent.parent.name) == ("done", name)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [name]
