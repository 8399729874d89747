"""A training outside of a search: of a comparison, or of a model fitted again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.storage.layout import ExperimentFolder

DONE = "done"
"""File in a training's folder that says all its epochs are trained."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training.

    Attributes:
        name: as progress and errors call it.
        experiment: what it belongs to; on its storage other machines find what is trained.
        config: the recipe.
        folder: where its checkpoints go.
        store: the packed store it is trained on.
        epochs: after how many of the recipe's epochs it ends.
    """

    name: str
    experiment: ExperimentFolder
    config: TrialConfig
    folder: Path
    store: Path
    epochs: int

    @property
    def is_done(self) -> bool:
        """Whether it was trained to its end."""
        return (self.folder / DONE).exists()

    def mark_done(self) -> None:
        """Say so to those who come after, on whatever machine, and leave them what was trained."""
        done = self.folder / DONE
        files = [path for path in self.folder.glob("[!.]*") if path != done]
        done.touch()
        self.experiment.publish(*files, done)  # in this order: who finds it done finds it whole

    def fetch(self) -> None:
        """Have it here if another machine trained it, and there if only this one did.

        Raises:
            RunError: storage cannot be reached.
        """
        self.experiment.fetch_below(self.folder)
        name = (self.folder / DONE).relative_to(self.experiment.root).as_posix()
        if self.is_done and name not in self.experiment.sizes(self.folder):
            self.mark_done()


Failures = dict[str, str]
"""Why trainings failed by their own fault, by their names."""

TrainAll = Callable[[Sequence[TrainingJob], ExperimentConfig], Failures]
"""Trains all jobs that are not done; one that fails, as by diverging, does not keep others back."""


def tell_done(jobs: Sequence[TrainingJob], progress: Callable[[str], None]) -> None:
    """Say how many jobs an earlier run has done."""
    if done := sum(job.is_done for job in jobs):
        progress(f"{done} of {len(jobs)} trainings are there from before")


def tell_ended(
    job: TrainingJob, failures: Failures, number: int, of: int, progress: Callable[[str], None]
) -> None:
    """Say how a job ended."""
    if job.name in failures:
        progress(f"{job.name} failed: {failures[job.name]} ({number} of {of})")
    else:
        progress(f"trained {job.name} ({number} of {of})")
