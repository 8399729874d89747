"""An experiment as Python sees it: open it, ask it."""

from dataclasses import dataclass
from pathlib import Path

from dann_search.layout import ExperimentFolder
from dann_search.results import insight
from dann_search.results.leaderboard import ranked
from dann_search.results.reader import TrialRow, open_experiment, read_trials


@dataclass(frozen=True)
class Experiment:
    """What a search left on storage; nothing here needs Ray.

    Example::

        experiment = dann_search.Experiment.open("quickstart")
        for parameter in experiment.importance().parameters:
            print(parameter.name, parameter.importance)
    """

    folder: ExperimentFolder

    @classmethod
    def open(cls, name_or_path: str | Path) -> "Experiment":
        """By its folder, or by its name under ``runs``.

        Raises:
            InputError: there is none.
        """
        return cls(open_experiment(name_or_path))

    def trials(self) -> list[TrialRow]:
        """Every trial, best first."""
        return ranked(read_trials(self.folder))

    def importance(self, method: insight.Method = "fanova") -> insight.Importance:
        """How much each searched parameter matters, the most important first."""
        return insight.importance(self.folder, method)

    def slices(self) -> dict[str, list[insight.Point]]:
        """Score against value, by parameter."""
        return insight.slices(self.folder)

    def history(self) -> list[insight.Point]:
        """Trials in the order of their end, with the best score until then."""
        return insight.history(self.folder)
