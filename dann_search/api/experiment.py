"""An experiment from Python: open it, read it, use its model."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_search.api.plots import Plots
from dann_search.errors import RunError
from dann_search.results import insight
from dann_search.results.leaderboard import ranked
from dann_search.results.reader import open_experiment, read_experiment, read_trials
from dann_search.results.rows import TrialRow
from dann_search.storage.layout import ExperimentFolder

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image
    from torch import Tensor

    from dann_search.inference.model import DannModel, Prediction
    from dann_search.outputs.comparison import Comparison
    from dann_search.outputs.models import BestModel, Evaluation, Export
    from dann_search.outputs.report import Report
    from dann_search.outputs.search import SearchEnded
    from dann_search.outputs.trials import Status

ROWS = 10
"""Trials that a notebook shows of an experiment."""


@dataclass(frozen=True)
class Experiment(Plots):
    """A search on storage.

    Only what trains needs Ray: ``compare``, ``resume``, and ``best`` with ``refit``. The methods
    ``plot_…`` return the report's figures.

    Example::

        experiment = dann_search.Experiment.open("quickstart")
        experiment.leaderboard().head()
        experiment.plot_history()
        experiment.evaluate().f1_macro
        experiment.predict(["digit.png"])[0].label
    """

    folder: ExperimentFolder

    @classmethod
    def open(cls, name_or_path: str | Path) -> "Experiment":
        """Open an experiment by its folder, or by its name under ``runs``.

        Raises:
            InputError: there is no such experiment.
        """
        return cls(open_experiment(name_or_path))

    def _repr_html_(self) -> str:
        """Show the state and the best trials in a notebook."""
        state = html.escape(f"{self.folder.root.name}: {self.status().state}")
        table: str = self.leaderboard().head(ROWS).to_html(float_format="{:.4g}".format)
        return f"<p>{state}</p>{table}"

    def status(self) -> "Status":
        """Return what is running, done and best so far, also while the search runs."""
        from dann_search.results.status import status

        return status(self.folder)

    def trials(self) -> list[TrialRow]:
        """Return every trial, best first."""
        return ranked(read_trials(self.folder))

    def leaderboard(self) -> "pd.DataFrame":
        """Return every trial, best first, with a column for each searched parameter.

        A parameter that does not apply to a trial is missing there. The index is the trial's
        number. Trials that confirm a finalist with another seed come last.
        """
        import pandas as pd

        rows = self.trials()
        names = list(read_experiment(self.folder).space)
        content = {
            "state": [row.state for row in rows],
            "f1_macro_val": [row.f1_macro_val for row in rows],
            "score": [row.score for row in rows],
            "epochs": [row.epochs for row in rows],
            "best_epoch": pd.array([row.best_epoch for row in rows], dtype="Int64"),
            "confirmed_mean": [row.confirmed_mean for row in rows],
            "confirms": pd.array([row.confirms for row in rows], dtype="Int64"),
            **{name: [row.params.get(name) for row in rows] for name in names},
        }
        index = pd.Index([row.number for row in rows], name="trial")
        frame = pd.DataFrame(content, index=index)
        again = [] if any(row.confirmed for row in rows) else ["confirmed_mean", "confirms"]
        return frame.drop(columns=again)

    def curves(self, trial: int | None = None) -> "pd.DataFrame":
        """Return what was measured in each epoch of a trial, by default the best one.

        Raises:
            InputError: there is no such trial, or none has finished.
            RunError: the trial's files cannot be read.
        """
        import pandas as pd

        from dann_search.results.choose import choose
        from dann_search.results.epochs import read_epochs

        row = choose(read_trials(self.folder), self.folder, trial=trial)
        history = read_epochs(self.folder, row.number)
        if not history:
            raise RunError(f"{self.folder}: nothing of trial {row.number} can be read")
        epochs = [{**epoch, **epoch["validators"]} for epoch in history]
        return pd.DataFrame(epochs).drop(columns="validators").set_index("epoch")

    def importance(self, method: insight.Method = "fanova") -> insight.Importance:
        """Estimate how much each searched parameter matters, the most important first."""
        return insight.importance(self.folder, method)

    def slices(self) -> dict[str, list[insight.Point]]:
        """Return score against value, by parameter."""
        return insight.slices(self.folder)

    def history(self) -> list[insight.Point]:
        """Return trials in the order of their end, with the best score until then."""
        return insight.history(self.folder)

    def best(
        self,
        rank: int | None = None,
        *,
        trial: int | None = None,
        objective: str | None = None,
        refit: bool = False,
        out: str | Path | None = None,
        force: bool = False,
    ) -> "BestModel":
        """Write a trial's model as ``write_best`` does, or train it again as ``refit`` does.

        Raises:
            InputError: there is no such trial, it has no model, or ``out`` exists.
            RunError: the trial's checkpoint is damaged, or the training failed.
        """
        which: dict[str, Any] = {"rank": rank, "trial": trial, "objective": objective}
        which |= {"out": out, "force": force}
        if refit:
            from dann_search.api import retraining

            return retraining.refit(str(self.folder), **which)
        from dann_search.inference.best import write_best

        return write_best(self.folder, **which)

    def model(self) -> "DannModel":
        """Load the best model, a torch module that does its own preprocessing.

        Raises:
            InputError: no trial has finished.
        """
        from dann_search.inference.find_model import find_model
        from dann_search.inference.model import load_model

        return load_model(find_model(str(self.folder)).folder, trust_extensions=True)

    def predict(self, images: "Tensor | Sequence[str | Path | Image]") -> "list[Prediction]":
        """Classify images with the best model.

        Args:
            images: paths, Pillow images, or a uint8 tensor of shape (n, 3, side, side).

        Raises:
            InputError: no trial has finished, or an image cannot be read.
        """
        return self.model().predict(images)

    def evaluate(
        self, data: str | Path | None = None, *, calibrated: bool = False, device: str = "cpu"
    ) -> "Evaluation":
        """Measure the best model on the target's test split, or on a labelled folder.

        Args:
            data: the labelled folder.
            calibrated: fit the model's temperature on the target's validation split first.
            device: ``cpu``, ``cuda`` or ``auto``.

        Raises:
            InputError: no trial has finished, or ``data`` has no labels or other classes.
        """
        from dann_search.evaluation.evaluate import evaluate_target

        place = None if data is None else Path(data)
        return evaluate_target(str(self.folder), place, calibrated=calibrated, device=device)

    def export(self, format: str, **options: Any) -> "Export":
        """Write the best model for use without dann-search, with the options of ``export_model``.

        Args:
            format: safetensors, onnx or torch.
            options: ``out``, ``force``, ``images``.

        Raises:
            InputError: no trial has finished, there is no such format, or the folder exists.
            RunError: the export's probabilities differ from the model's.
        """
        from dann_search.inference.export.export import export_model

        return export_model(str(self.folder), format, **options)

    def compare(
        self,
        methods: Sequence[str] | None = None,
        seeds: int = 3,
        progress: Callable[[str], None] | None = None,
        *,
        tune: int | None = None,
    ) -> "Comparison":
        """Train and score the winner and its baselines, as ``dann_search.compare`` does."""
        from dann_search.api import retraining

        return retraining.compare(
            str(self.folder), methods=methods, seeds=seeds, tune=tune, progress=progress
        )

    def resume(self, **options: Any) -> "SearchEnded":
        """Resume the search, with the options of ``dann_search.resume``."""
        from dann_search.api import launching

        return launching.resume(str(self.folder), **options)

    def report(self, out: str | Path | None = None, **options: Any) -> "Report":
        """Write the report, one HTML file, with the options of ``write_report``.

        Raises:
            InputError: no trial has finished, or the file exists.
        """
        from dann_search.report import write_report

        return write_report(self.folder, None if out is None else Path(out), **options)
