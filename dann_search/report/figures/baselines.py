"""The best model's method against its baselines, seed by seed."""

from collections.abc import Iterator

import plotly.graph_objects as go
from matplotlib.figure import Figure as PaperFigure

from dann_search.outputs.comparison import Comparison, MethodScores
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Paper, Plot, paper, plain

TITLE = "macro-F1 on target test"


def plots(content: Content) -> list[Plot]:
    """One, where ``compare`` has run."""
    if content.compared is None:
        return []
    shown = _shown(content.compared)
    return [Plot("baselines", _figure(content.compared), "", 90 + 44 * len(shown))]


def papers(content: Content) -> Iterator[Paper]:
    """The same for paper."""
    if compared := content.compared:
        yield Paper("baselines", lambda: _on_paper(compared))


def _shown(compared: Comparison) -> list[tuple[str, MethodScores]]:
    """The winner above; a method that is another by a second name is not drawn twice."""
    return [(name, one) for name, one in compared.methods.items() if one.same_as is None][::-1]


def _figure(compared: Comparison) -> go.Figure:
    figure = go.Figure()
    shown = _shown(compared)
    labels = [plain(name) for name, _ in shown]
    colours = [theme.VERMILLION if name == compared.winner else theme.BLUE for name, _ in shown]
    figure.add_scatter(
        x=[value for _, one in shown for value in one.f1_macro_test.values],
        y=[label for label, (_, one) in zip(labels, shown, strict=True)
           for _ in one.f1_macro_test.values],
        mode="markers",
        name="one seed",
        marker={"color": theme.GREY, "symbol": "circle-open", "size": 9},
        hovertemplate="%{y}: %{x:.3f}<extra>one seed</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[one.f1_macro_test.mean for _, one in shown],
        y=labels,
        mode="markers",
        name="mean ± standard deviation over seeds",
        marker={"color": colours, "symbol": "diamond", "size": 11},
        error_x={
            "type": "data",
            "array": [one.f1_macro_test.sd for _, one in shown],
            "color": theme.GREY,
            "thickness": 1.5,
        },
        hovertemplate="%{y}: %{x:.3f}<extra>mean</extra>",
    )
    figure.update_xaxes(title=TITLE)
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=labels,
        range=[-0.6, len(labels) - 0.4],
    )  # fmt: skip
    return figure


def _on_paper(compared: Comparison) -> PaperFigure:
    shown = _shown(compared)
    figure = paper(1, 0.8 + 0.3 * len(shown))
    axes = figure.subplots()
    for place, (name, one) in enumerate(shown):
        colour = theme.VERMILLION if name == compared.winner else theme.BLUE
        values = one.f1_macro_test.values
        axes.plot(values, [place] * len(values), "o", color=theme.GREY, markerfacecolor="none")
        summary = one.f1_macro_test
        axes.errorbar(
            summary.mean, place, xerr=summary.sd, fmt="D", color=colour, capsize=2, markersize=5
        )
    axes.set_yticks(range(len(shown)), [name for name, _ in shown])
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(TITLE)
    axes.grid(False, axis="y")
    return figure
