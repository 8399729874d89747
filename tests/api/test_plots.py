"""The figures of the report from Python, one at a time."""

import importlib.util

import pytest
from plotly.graph_objects import Figure

from dann_search import Experiment
from dann_search.errors import InputError
from dann_search.report.figures.catalog import FIGURES
from dann_search.storage.layout import ExperimentFolder


def test_every_figure_of_the_report_has_its_method() -> None:
    methods = {name for name in dir(Experiment) if name.startswith("plot_")}
    assert methods == {f"plot_{name}" for name in FIGURES}


@pytest.mark.parametrize("name", ["history", "parallel_coordinates", "learning_curves"])
def test_a_figure_of_the_search_is_drawn_without_the_model(
    searched: ExperimentFolder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dann_search.report.content.look_inside", None)  # a call would fail
    figure = getattr(Experiment(searched), f"plot_{name}")()
    assert isinstance(figure, Figure) and len(figure.data) >= 1


def test_a_figure_of_the_model_runs_it(searched: ExperimentFolder) -> None:
    figure = Experiment(searched).plot_features_by_domain()
    assert {trace.name.split(":")[0] for trace in figure.data} == {"source", "target"}


def test_what_is_not_there_yet_names_the_command_that_makes_it(searched: ExperimentFolder) -> None:
    with pytest.raises(InputError, match=r"no figure 'baselines' yet.*dann-search compare"):
        Experiment(searched).plot_baselines()


def test_without_plotly_the_extra_is_named(
    searched: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"plotly is missing: pip install 'dann-search\[report\]'"):
        Experiment(searched).plot_history()
