"""Trainings besides a search, from Python: compare its winner, refit its winner."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dann_search.config.experiment import Experiment
from dann_search.data.node_store import store_of
from dann_search.evaluation.compare import compare as compare_trained
from dann_search.inference.refit import write_refit
from dann_search.outputs.comparison import Comparison
from dann_search.outputs.models import BestModel
from dann_search.results.reader import check_registered, open_experiment
from dann_search.search.trainings import train_through_ray
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import recorded_store
from dann_search.training.job import Failures, TrainAll, TrainingJob


def compare(
    experiment: str | Path,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Train the winner and its baselines again; score them on the target's test split.

    ::

        comparison = dann_search.compare("quickstart", seeds=5)
        print(comparison.verdict)
        comparison.to_frame()  # a pandas DataFrame, a row a method

    Args:
        experiment: folder of the experiment, or its name under ``runs``.
        methods: names of methods, as docs/compare.md lists them; by default the winner's and the
            baselines that read no label of the target which the search did not have.
        seeds: number of trainings per method.
        progress: called with a line for each training that ends; standard error by default.

    Raises:
        InputError: no trial has finished, the search is still running, a method is unknown,
            there are fewer than two seeds, or what a notebook registered is missing.
        RunError: a training failed.
    """
    folder = open_experiment(experiment)
    check_registered(folder)
    return compare_trained(folder, _through_ray(folder, progress), methods=methods, seeds=seeds)


def refit(
    experiment: str | Path,
    *,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
    out: str | Path | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> BestModel:
    """Train a trial's recipe again on training and validation images; write the model.

    Args:
        experiment: folder of the experiment, or its name under ``runs``.
        rank: rank of the trial, as in ``write_best``; the best by default.
        trial: number of the trial, instead of its rank.
        objective: objective to rank by, instead of the search's.
        out: folder to write; by default ``best-refit`` in the experiment's folder for the
            first trial of the leaderboard, and a folder under ``models`` for any other.
        force: replace an existing model.
        progress: called with a line when the training ends; standard error by default.

    Raises:
        InputError: there is no such trial, ``out`` exists, or the packed images are gone.
        RunError: the training failed.
    """
    folder = open_experiment(experiment)
    check_registered(folder)
    train_all = _through_ray(folder, progress)
    return write_refit(
        folder, train_all, rank=rank, trial=trial, objective=objective, out=out, force=force
    )


def _through_ray(folder: ExperimentFolder, progress: Callable[[str], None] | None) -> TrainAll:
    """Return a function that runs trainings of an experiment in warm worker groups."""

    def train_all(jobs: Sequence[TrainingJob], experiment: Experiment) -> Failures:
        store = store_of(folder, experiment.data, recorded_store(folder))
        return train_through_ray(jobs, experiment, store=store, logs=folder.ray, progress=progress)

    return train_all
