"""Where things lie in an experiment's folder: the one place that knows the file names."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_STORAGE = Path("runs")


@dataclass(frozen=True)
class ExperimentFolder:
    """The folder of one experiment on storage."""

    root: Path

    @property
    def record(self) -> Path:
        """The resolved experiment, versions, seeds and split hashes."""
        return self.root / "experiment.yaml"

    @property
    def study(self) -> Path:
        """Optuna's study, the one record of the search."""
        return self.root / "study.db"

    @property
    def study_journal(self) -> Path:
        """The study in the form for shared file systems."""
        return self.root / "study.journal"

    @property
    def data(self) -> Path:
        """The packed store."""
        return self.root / "data"

    @property
    def tensorboard(self) -> Path:
        """Event files, one folder a trial."""
        return self.root / "tensorboard"

    @property
    def best(self) -> Path:
        """The best model."""
        return self.root / "best"

    @property
    def compare(self) -> Path:
        """Trainings of the comparison with baselines."""
        return self.root / "compare"

    @property
    def ray(self) -> Path:
        """Logs and files of Ray, Tune and Train: for looking into, never needed."""
        return self.root / "ray"

    @property
    def leaderboard(self) -> Path:
        """Every trial with every parameter."""
        return self.root / "leaderboard.csv"

    @property
    def trials(self) -> Path:
        """What the trials trained, one folder each."""
        return self.root / "trials"

    def trial(self, number: int) -> Path:
        """Checkpoints, configuration and error of one trial."""
        return self.trials / str(number)
