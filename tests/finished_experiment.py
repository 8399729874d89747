"""One finished experiment for all tests of results, searched in this process without Ray."""

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from dann_search.config.load import load_experiment
from dann_search.data.training_data import open_training_data
from dann_search.models.registry import stage_counts
from dann_search.search.launch import prepare
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study import StudyRecord
from dann_search.tracking.trial_files import TrialFiles
from dann_search.training.loop import train
from dann_search.training.result import best_of, score_of
from tests.experiments import space_file, tiny_space_file


def search_here(folder_of_file: Path, **changes: object) -> ExperimentFolder:
    """Four trials: 0 and 2 completed, 1 stopped early though it was best, 3 failed."""
    return search_file(space_file(folder_of_file, **changes))


def search_file(path: Path, *sets: str) -> ExperimentFolder:
    """The same with any experiment file."""
    experiment, space = load_experiment(path, stage_counts(), sets=sets)
    folder = prepare(experiment, space)
    record, data = StudyRecord(experiment, space, folder), open_training_data(folder.data)
    files = TrialFiles(folder)
    while (trial := record.next_trial()) is not None:
        if trial.number == 3:
            record.fail(3, "the loss became nan in epoch 1")
            continue
        files.trial_started(trial.number, trial.config, [])
        where = folder.trial(trial.number)
        where.mkdir(parents=True)
        objective = experiment.search.objective
        weights = experiment.weights
        for history in train(trial.config, data, where, objective=objective, weights=weights):
            epochs = [asdict(result) for result in history]
            scores = [score_of(epoch, objective) for epoch in epochs]
            files.epochs_done(trial.number, epochs, len(epochs) - 1)
            if trial.number == 1:
                record.report(1, [0.99])
                record.prune(1)
                files.trial_ending(1, "pruned", None)
                break
            record.report(trial.number, scores)
            record.note_best(trial.number, best_of(epochs, objective))
        else:
            record.complete(trial.number)
            files.trial_ending(trial.number, "completed", None)
    record.close()
    return folder


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """The experiment; read only."""
    # The sampler's own: of depth 3, the winner has every stage trained, as from_scratch has.
    changes = {"training__epochs": 2, "search__published_first": False}
    return search_here(tmp_path_factory.mktemp("searched"), **changes)


@pytest.fixture
def experiment(searched: ExperimentFolder, tmp_path: Path) -> ExperimentFolder:
    """A copy that a test may change; where it lies has changed too, as if it had been moved."""
    return _copy(searched, tmp_path)


def _copy(folder: ExperimentFolder, tmp_path: Path) -> ExperimentFolder:
    root = tmp_path / "moved" / folder.root.name
    shutil.copytree(folder.root, root)
    return ExperimentFolder(root)


@pytest.fixture(scope="session")
def tiny_searched(tiny_images: Path, tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """One on tiny images, whose trainings take a tenth of a second; read only."""
    # Of this seed, the winner has every stage trained, and is best in its last epoch.
    changes = {"training__epochs": 2, "search__published_first": False, "search__seed": 9}
    folder = tmp_path_factory.mktemp("tiny_searched")
    return search_file(tiny_space_file(folder, tiny_images, **changes))


@pytest.fixture
def tiny(tiny_searched: ExperimentFolder, tmp_path: Path) -> ExperimentFolder:
    """A copy of it that a test may change."""
    return _copy(tiny_searched, tmp_path)
