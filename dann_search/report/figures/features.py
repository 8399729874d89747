"""Source and target features on a plane, network by network, by domain and by class."""

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure as PaperFigure
from numpy.typing import NDArray

from dann_search.data.domain import NO_LABEL
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Paper, Plot, cut, paper, plain
from dann_search.report.inside import Domains, Inside

LISTED = 30
"""Classes up to which paper has a legend."""


def plots(content: Content) -> dict[str, list[Plot]]:
    """By ``domain`` and by ``class``, one a network."""
    inside = content.inside
    if inside is None:
        return {}
    names = content.info.class_names
    return {
        "domain": [
            Plot(f"domain-{index}", _by_domain(one, content), one.name, 310)
            for index, one in enumerate(inside.domains)
        ],
        "class": [
            Plot(f"class-{index}", _by_class(one, inside, names), one.name, 310)
            for index, one in enumerate(inside.domains)
        ],
    }


def papers(content: Content) -> Iterator[Paper]:
    """The same for paper, a row of networks each."""
    if inside := content.inside:
        yield Paper("features_by_domain", lambda: _domains_on_paper(inside, content))
        yield Paper("features_by_class", lambda: _classes_on_paper(inside, content))


def _bare(figure: go.Figure) -> go.Figure:
    """Without ticks: distances on the plane have no unit."""
    bare = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
    figure.update_xaxes(**bare)
    figure.update_yaxes(**bare, scaleanchor="x")
    figure.update_layout(hovermode="closest", legend={"itemsizing": "constant"})
    return figure


def _by_domain(one: Domains, content: Content) -> go.Figure:
    figure = go.Figure()
    for role, colour, symbol, places in _roles(one):
        figure.add_scatter(
            x=places[:, 0].round(2).tolist(),
            y=places[:, 1].round(2).tolist(),
            mode="markers",
            name=f"{role}: {plain(content.info.domains[role], 24)}",
            marker={"color": colour, "symbol": symbol, "size": 5, "opacity": 0.75},
            hoverinfo="name",
        )
    return _bare(figure)


def _roles(one: Domains) -> list[tuple[str, str, str, NDArray[np.float64]]]:
    return [
        ("source", theme.SOURCE, "circle", one.source),
        ("target", theme.TARGET, "triangle-up", one.target),
    ]


def _by_class(one: Domains, inside: Inside, names: Sequence[str]) -> go.Figure:
    figure = go.Figure()
    places = np.concatenate([one.source, one.target])
    labels = np.concatenate([inside.source_labels, inside.target_labels])
    for label in sorted(set(labels.tolist())):
        colour, symbol = _look(label)
        mine = places[labels == label]
        figure.add_scatter(
            x=mine[:, 0].round(2).tolist(),
            y=mine[:, 1].round(2).tolist(),
            mode="markers",
            name="unlabelled target" if label == NO_LABEL else plain(names[label]),
            marker={
                "color": colour,
                "symbol": symbol,
                "size": 4 if label == NO_LABEL else 6,
                "opacity": 0.6 if label == NO_LABEL else 0.85,
            },
            hoverinfo="name",
        )
    figure.update_layout(showlegend=False)
    return _bare(figure)


def _look(label: int) -> tuple[str, str]:
    return (theme.FAINT, "circle") if label == NO_LABEL else theme.class_look(label)


def _domains_on_paper(inside: Inside, content: Content) -> PaperFigure:
    figure = paper(2, 2.6)
    grid = figure.subplots(1, len(inside.domains), squeeze=False)[0]
    for axes, one in zip(grid, inside.domains, strict=True):
        for role, colour, symbol, places in _roles(one):
            label = f"{role}: {cut(content.info.domains[role])}"
            marker = theme.MARKERS[symbol]
            axes.plot(*places.T, marker, color=colour, label=label, markersize=2, alpha=0.7)
        axes.set_title(one.name)
        _bare_axes(axes)
    figure.legend(
        *grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2
    )
    return figure


def _classes_on_paper(inside: Inside, content: Content) -> PaperFigure:
    figure = paper(2, 2.9)
    grid = figure.subplots(1, len(inside.domains), squeeze=False)[0]
    labels = np.concatenate([inside.source_labels, inside.target_labels])
    names = content.info.class_names
    for axes, one in zip(grid, inside.domains, strict=True):
        places = np.concatenate([one.source, one.target])
        for label in sorted(set(labels.tolist())):
            colour, symbol = _look(label)
            name = "unlabelled target" if label == NO_LABEL else cut(names[label])
            marker = theme.MARKERS[symbol]
            size = 1.2 if label == NO_LABEL else 2.2
            mine = places[labels == label].T
            axes.plot(*mine, marker, color=colour, label=name, markersize=size, alpha=0.8)
        axes.set_title(one.name)
        _bare_axes(axes)
    if len(names) <= LISTED:
        # Not by get_legend_handles_labels, which leaves out names that begin with "_".
        lines = grid[0].get_lines()
        shown = [str(line.get_label()) for line in lines]
        figure.legend(lines, shown, loc="outside lower center", ncols=6, markerscale=2)
    return figure


def _bare_axes(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set(visible=True, color=theme.FAINT)
