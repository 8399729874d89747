"""The figures of the report, one at a time: for notebooks, and for pages of one's own."""

from typing import TYPE_CHECKING

from dann_search.storage.layout import ExperimentFolder

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Plots:
    """Methods of an experiment that return a figure of its report, as a Plotly figure.

    Each raises an ``InputError`` where no trial has finished, where there is nothing to draw yet,
    or where Plotly is missing: ``pip install 'dann-search[report]'``.
    """

    folder: ExperimentFolder

    def plot_history(self) -> "Figure":
        """Draw the trials in the order of their end, and the best score until then.

        ::

            figure = experiment.plot_history()  # the last line of a cell shows it
            figure.write_html("history.html")
        """
        return self._plot("history")

    def plot_epochs(self) -> "Figure":
        """Draw the objective of every trial after each epoch."""
        return self._plot("epochs")

    def plot_parallel_coordinates(self) -> "Figure":
        """Draw a line for each trial through the values of its parameters."""
        return self._plot("parallel_coordinates")

    def plot_importance(self) -> "Figure":
        """Draw how much each searched parameter matters."""
        return self._plot("importance")

    def plot_slices(self) -> "Figure":
        """Draw the score over each searched parameter, the most important first."""
        return self._plot("slices")

    def plot_learning_curves(self) -> "Figure":
        """Draw scores, losses, lambda and learning rates of the best trial."""
        return self._plot("learning_curves")

    def plot_baselines(self) -> "Figure":
        """Draw what ``compare`` found: the winner and its baselines on the target's test split."""
        return self._plot("baselines")

    def plot_confusion(self) -> "Figure":
        """Draw the confusion matrix on test if ``evaluate`` was run, else on val."""
        return self._plot("confusion")

    def plot_reliability(self) -> "Figure":
        """Draw how often the best model is right when it is so sure."""
        return self._plot("reliability")

    def plot_features_by_domain(self) -> "Figure":
        """Draw the features of validation images, in the colours of their domains."""
        return self._plot("features_by_domain")

    def plot_features_by_class(self) -> "Figure":
        """Draw the features of validation images, in the colours of their classes."""
        return self._plot("features_by_class")

    def _plot(self, name: str) -> "Figure":
        from dann_search.report.one_figure import one_figure

        return one_figure(self.folder, name)
