"""What trains besides a search, from Python: its winner compared, its winner refitted."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dann_search.config.experiment import Experiment
from dann_search.data.node_store import store_of
from dann_search.evaluation.compare import compare as compare_trained
from dann_search.inference.best import BestModel
from dann_search.inference.refit import write_refit
from dann_search.outputs.comparison import Comparison
from dann_search.results.reader import open_experiment
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
    """Train the winner and its baselines anew; score them on the target's test split.

    ::

        comparison = dann_search.compare("quickstart", seeds=5)
        print(comparison.verdict)
        comparison.to_frame()  # a pandas DataFrame, a row a method

    Args:
        experiment: its folder, or its name under ``runs``.
        methods: names; by default the winner's method and the baselines that read no label of the
            target's training images. docs/compare.md lists them.
        seeds: trainings a method.
        progress: told a line for each training that ends; standard error by default.

    Raises:
        InputError: no finished trial, a search that is still running, an unknown method, fewer than
            two seeds.
        RunError: a training failed.
    """
    folder = open_experiment(experiment)

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
        experiment: its folder, or its name under ``runs``.
        rank: which trial, as for ``write_best``; the best by default.
        trial: its number instead.
        objective: another one to rank by.
        out: where to write; by default ``best-refit`` in the experiment's folder for the
            leaderboard's first, and a folder under ``models`` for any other.
        force: replace a model that is there.
        progress: told a line when the training ends; standard error by default.

    Raises:
        InputError: no such trial, ``out`` is in the way, or the packed images are gone.
        RunError: the training failed.
    """
    folder = open_experiment(experiment)
    train_all = _through_ray(folder, progress)
    return write_refit(
        folder, train_all, rank=rank, trial=trial, objective=objective, out=out, force=force
    )


def _through_ray(folder: ExperimentFolder, progress: Callable[[str], None] | None) -> TrainAll:
    """Trains an experiment's other trainings in warm worker groups of this machine."""

    def train_all(jobs: Sequence[TrainingJob], experiment: Experiment) -> Failures:
        store = store_of(folder, experiment.data, recorded_store(folder))
        return train_through_ray(jobs, experiment, store=store, logs=folder.ray, progress=progress)

    return train_all
