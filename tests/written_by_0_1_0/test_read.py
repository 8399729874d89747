"""What version 0.1.0 wrote is read: ``digits.zip`` is a search of three trials of two epochs.

It was launched, and its best model evaluated, by the last commit before the rooms were moved.
Packed images are left out, and of its checkpoints all but the winner's.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import dann_search
from dann_search.api.experiment import Experiment
from dann_search.config.data import DataConfig
from dann_search.data.store import read_info
from dann_search.report.reproduce import reproduction
from dann_search.results.reader import read_experiment, read_trials
from dann_search.results.store import packed_store
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import recorded_store
from tests.in_process import InProcessExecutor

ARCHIVE = Path(__file__).with_name("digits.zip")


@pytest.fixture
def folder(tmp_path: Path) -> ExperimentFolder:
    """The experiment, somewhere else than it was written."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return ExperimentFolder(tmp_path / "digits")


def test_its_trials_are_listed_as_they_were(folder: ExperimentFolder) -> None:
    result = json.loads((folder.root / "result.json").read_text())
    experiment = Experiment.open(folder.root)
    status, table = experiment.status(), experiment.leaderboard()
    assert status.state == "done" and status.best is not None
    for state in ("completed", "pruned", "failed"):
        assert getattr(status, state) == result["trials"][state]
    for name in ("trial", "f1_macro_val"):
        assert getattr(status.best, name) == result["best"][name]
    assert len(table) == 3 and table["f1_macro_val"].max() == result["best"]["f1_macro_val"]


def test_its_model_is_loaded_and_reaches_the_score_it_had(folder: ExperimentFolder) -> None:
    before = json.loads((folder.best / "evaluation.json").read_text())
    model = dann_search.load_model(folder.best)
    black = Image.fromarray(np.zeros((20, 20, 3), np.uint8))
    (prediction,) = model.predict([black])
    assert prediction.label in model.class_names
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    after = dann_search.evaluate_target(folder.root)
    assert after.n == before["n"]
    assert after.f1_macro == pytest.approx(before["f1_macro"], abs=1e-6)
    assert after.confusion == before["confusion"]


def test_the_search_goes_on(folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dann_search.api.launching.RayExecutor", lambda *_: InProcessExecutor())
    result = dann_search.resume(folder.root, add_trials=1)
    assert result.trials.completed + result.trials.pruned == 4
    assert {trial.name for trial in folder.trials.iterdir()} == {"0", "1", "2", "3"}
    leaderboard = Experiment.open(folder.root).leaderboard()
    assert sorted(leaderboard.index) == [0, 1, 2, 3]


def test_its_source_stays_divided_as_its_target(folder: ExperimentFolder) -> None:
    info, experiment = recorded_store(folder), read_experiment(folder)
    assert read_info(packed_store(folder)).hashes == info.hashes
    assert info.sizes["source"]["test"] > 0
    (best, *_) = read_trials(folder)
    again = yaml.safe_load(reproduction(experiment, best, 3).content)
    assert DataConfig.model_validate(again["data"]) == experiment.data
    assert experiment.data.splits_of("source") == experiment.data.splits
