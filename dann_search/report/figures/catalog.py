"""Every figure a report can have."""

from collections.abc import Callable

from dann_search.report.content import Content
from dann_search.report.figures.baselines import baselines
from dann_search.report.figures.classes import confusion, reliability
from dann_search.report.figures.features import features_by_class, features_by_domain
from dann_search.report.figures.parallel import parallel_coordinates
from dann_search.report.figures.parameters import importance, slices
from dann_search.report.figures.plot import Plot
from dann_search.report.figures.training import learning_curves
from dann_search.report.figures.trials import epochs, history

FIGURES: dict[str, Callable[[Content], list[Plot]]] = {
    "baselines": baselines,
    "history": history,
    "epochs": epochs,
    "parallel_coordinates": parallel_coordinates,
    "importance": importance,
    "slices": slices,
    "learning_curves": learning_curves,
    "confusion": confusion,
    "reliability": reliability,
    "features_by_domain": features_by_domain,
    "features_by_class": features_by_class,
}
"""By name: of its file, and in the page's templates. A figure without data has no plots."""


def draw(content: Content) -> dict[str, list[Plot]]:
    """Draw every figure."""
    return {name: figure(content) for name, figure in FIGURES.items()}
