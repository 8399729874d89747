"""Twenty SIGKILLs while study and checkpoints are written: a search without Ray around it."""

import multiprocessing
import os
import random
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from dann_search.config.load import load_experiment
from dann_search.data.training_data import open_training_data
from dann_search.models.registry import stage_counts
from dann_search.search.launch import prepare
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from dann_search.training.loop import train
from dann_search.training.result import best_of, score_of
from tests.experiments import epochs_in_study, retrain, saved_history, study_trials, tiny_space_file

pytestmark = pytest.mark.scenario

KILLS, EPOCHS, TRIALS = 20, 4, 30
IMPORTED_LATER = ["torch._dynamo", "ray"]
"""What a driver would import in its course, the first by its first optimizer: seconds each time."""


def drive(path: Path) -> None:
    """Lay out the experiment where it is not yet, then run its trials one after another."""
    torch.set_num_threads(1)
    experiment, space = load_experiment(path, stage_counts())
    folder = ExperimentFolder.at(experiment.place)
    if not folder.record.exists():
        prepare(experiment, space)
    record, data = StudyRecord(experiment, space, folder), open_training_data(folder.data)
    while (trial := record.next_trial()) is not None:
        where = folder.trial(trial.number)
        where.mkdir(parents=True, exist_ok=True)
        for history in train(trial.config, data, where):
            epochs = [asdict(result) for result in history]
            record.report(trial.number, [score_of(epoch, "f1_macro") for epoch in epochs])
            record.note_best(trial.number, best_of(epochs, "f1_macro"))
            if len(epochs) < trial.config.epochs and record.should_stop(trial.number):
                record.prune(trial.number)
                break
        else:
            record.complete(trial.number)
    os._exit(0)


def test_twenty_kills_leave_each_trial_once_and_finished_ones_as_they_were(
    tmp_path: Path, tiny_images: Path
) -> None:
    path = tiny_space_file(
        tmp_path,
        tiny_images,
        search__trials=TRIALS,
        search__scheduler="asha",
        search__sampler="tpe",
        training__epochs=EPOCHS,
    )
    folder, rng = ExperimentFolder(tmp_path / "runs" / "tiny"), random.Random(0)
    # Its children are forked with everything imported: most of a driver's time would be that.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__, *IMPORTED_LATER])
    finished: dict[int, tuple[object, ...]] = {}
    killed = 0
    while killed < KILLS:
        driver = server.Process(target=drive, args=(path,))
        driver.start()
        before = epochs_in_study(folder)
        while driver.is_alive() and epochs_in_study(folder) <= before:
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 0.4))
        if not driver.is_alive():
            break  # it came to its end before it was killed often enough
        assert driver.pid
        os.kill(driver.pid, signal.SIGKILL)
        driver.join()
        killed += 1
        now = {t.number: facts(t) for t in study_trials(folder) if t.state.is_finished()}
        assert finished.items() <= now.items()
        finished = now
    assert killed >= KILLS // 2, f"killed {killed} times only: the search was too short"
    last = server.Process(target=drive, args=(path,))
    last.start()
    last.join(200)
    assert last.exitcode == 0
    trials = study_trials(folder)
    assert finished.items() <= {t.number: facts(t) for t in trials}.items()
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        saved = [epoch["f1_macro_val"] for epoch in saved_history(folder, trial.number)]
        assert list(trial.intermediate_values.items()) == list(enumerate(saved, 1))
    torch.set_num_threads(1)
    whole = next(trial for trial in trials if trial.state == TrialState.COMPLETE)
    again = retrain(folder, whole.user_attrs["config"], tmp_path / "again")
    assert saved_history(folder, whole.number) == again


def facts(trial: object) -> tuple[object, ...]:
    """What may never change again."""
    names = ("state", "value", "params", "intermediate_values", "datetime_complete")
    return tuple(getattr(trial, name) for name in names)
