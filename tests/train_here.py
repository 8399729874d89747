"""Trainings outside of a search, in this process: what tests put in the place of Ray."""

from collections.abc import Callable, Sequence

from dann_search.config.experiment import ExperimentConfig
from dann_search.data.training_data import open_training_data
from dann_search.errors import RunError
from dann_search.training.job import Failures, TrainingJob, tell_done, tell_ended
from dann_search.training.loop import train


def train_here(
    jobs: Sequence[TrainingJob],
    experiment: ExperimentConfig,
    progress: Callable[[str], None] = lambda line: None,
) -> Failures:
    """Train jobs one after another in this process, from their checkpoints where there are any."""
    tell_done(jobs, progress)
    waiting = [job for job in jobs if not job.is_done]
    failures: Failures = {}
    for number, job in enumerate(waiting, len(jobs) - len(waiting) + 1):
        try:
            _train(job, experiment)
        except RunError as exc:
            failures[job.name] = str(exc)
        tell_ended(job, failures, number, len(jobs), progress)
    return failures


def _train(job: TrainingJob, experiment: ExperimentConfig) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    data = open_training_data(job.store, experiment.data.feature_limit_gib)
    weights, objective = experiment.weights, experiment.search.objective
    for history in train(job.config, data, job.folder, weights=weights, objective=objective):
        if len(history) >= job.epochs:
            break
    job.mark_done()
