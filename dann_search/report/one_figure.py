"""One figure of the report, for a notebook: nothing is written."""

from typing import TYPE_CHECKING

from dann_search.errors import InputError
from dann_search.report.write import check_installed
from dann_search.results.reader import use_recorded_extensions
from dann_search.storage.layout import ExperimentFolder

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def one_figure(folder: ExperimentFolder, name: str) -> "Figure":
    """Draw a figure of the report; the best model is run only where the figure is of it.

    Args:
        folder: the experiment.
        name: of the figure, as in ``figures.catalog.FIGURES``.

    Raises:
        InputError: no trial has finished, there is nothing to draw, or Plotly is missing.
    """
    check_installed()
    from dann_search.report.content import gather
    from dann_search.report.figures.catalog import FIGURES
    from dann_search.report.figures.paper import on_screen

    use_recorded_extensions(folder)
    for run_model in (False, True):
        content = gather(folder, lambda line: None, run_model)
        if plots := FIGURES[name](content):
            return on_screen(plots)
    why = " ".join(content.notes) or "Its search has no trials that differ."
    raise InputError(f"{folder}: there is no figure '{name}' yet. {why}")
