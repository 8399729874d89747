"""Which parameters mattered, and how: importance, and slices of the score over each."""

import math
from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go
from matplotlib.figure import Figure as PaperFigure

from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.dimensions import Dimension, dimension
from dann_search.report.figures.plot import (
    Paper,
    Plot,
    cut,
    number,
    paper,
    part_of,
    plain,
)
from dann_search.report.figures.trials import objective_title
from dann_search.results.insight import ParameterImportance, Point, evenly

MOST_POINTS = 6000
"""Trials in all slices together, evenly taken."""
ROOM, ROOM_OF_NAMES = 0.06, 0.3
"""Beside the ends of an axis, as a share of it."""
LONG, FOLDED = 24, 12
"""Characters of names that need a figure over two columns; that stand on one line of an axis."""


def plots(content: Content) -> list[Plot]:
    """Importance, if anything was searched."""
    known = _known(content)
    if not known:
        return []
    return [Plot("importance", _importance(known), "Importance", 70 + 30 * len(known))]


def slice_plots(content: Content) -> list[Plot]:
    """One a parameter, the most important first."""
    return [
        Plot(
            f"slice-{index}",
            _slice(content, axis, points),
            axis.title,
            250,
            part_of("trials", len(points), len(content.search.slices[axis.name])),
        )
        for index, (axis, points) in enumerate(_slices(content))
    ]


def papers(content: Content) -> Iterator[Paper]:
    """The same for paper, all slices in one."""
    if _known(content):
        yield Paper("importance", lambda: _importance_on_paper(content))
    if _slices(content):
        yield Paper("slices", lambda: _slices_on_paper(content))


def _known(content: Content) -> list[ParameterImportance]:
    """Those of which something can be said, the least important first, as bars are drawn."""
    found = content.search.importance.parameters
    return [one for one in reversed(found) if one.importance is not None]


def _label(one: ParameterImportance) -> str:
    return one.name + (" *" if one.conditional else "")


def _importance(known: list[ParameterImportance]) -> go.Figure:
    figure = go.Figure()
    figure.add_bar(
        x=[one.importance for one in known],
        y=["<br>of ".join(map(plain, _label(one).split(".", 1))) for one in known],
        orientation="h",
        marker={"color": theme.BLUE},
        text=[f"{one.importance:.2f}" for one in known],
        textposition="outside",
        cliponaxis=False,
        customdata=[one.trials for one in known],
        hovertemplate="%{y}: %{x:.3f}, over %{customdata} trials<extra></extra>",
    )
    figure.update_xaxes(title="share explained", rangemode="tozero", nticks=5, tickangle=0)
    figure.update_yaxes(showgrid=False, ticks="", tickmode="linear")
    figure.update_layout(margin={"r": 40})
    return figure


def _importance_on_paper(content: Content) -> PaperFigure:
    known = _known(content)
    names, shares = [_label(one) for one in known], [one.importance or 0.0 for one in known]
    figure = paper(1 if max(map(len, names)) < LONG else 2, 0.7 + 0.19 * len(known))
    axes = figure.subplots()
    axes.barh(names, shares, color=theme.BLUE)
    axes.set_xlabel("share of the spread explained")
    axes.grid(False, axis="y")
    return figure


def _slices(content: Content) -> list[tuple[Dimension, list[Point]]]:
    """Axes and trials by parameter, as the study calls it: one a backbone where they differ."""
    order = [one.name for one in content.search.importance.parameters]
    found = []
    for name in sorted(content.search.slices, key=lambda n: order.index(n) if n in order else 99):
        base = name.split(".")[0]
        parameter = content.experiment.space.get(base)
        if parameter is None:
            continue
        axis = dimension(base, parameter)
        points = content.search.slices[name]
        found.append(
            (_named(axis, name), evenly(points, MOST_POINTS // len(content.search.slices)))
        )
    return found


def _named(axis: Dimension, name: str) -> Dimension:
    return Dimension(name, axis.values, axis.low, axis.high, axis.log, axis.whole)


def _slice(content: Content, axis: Dimension, points: list[Point]) -> go.Figure:
    figure = go.Figure()
    best = content.best.number
    for label, symbol, colour, mine in (
        ("stopped early", "circle-open", theme.GREY, [p for p in points if p.state == "pruned"]),
        ("completed", "circle", theme.BLUE, [p for p in points if p.state == "completed"]),
        ("best", "star", theme.VERMILLION, [p for p in points if p.trial == best]),
    ):
        figure.add_scatter(
            x=[round(axis.place(point.value), 4) for point in mine],
            y=[point.score for point in mine],
            mode="markers",
            name=label,
            marker={"symbol": symbol, "color": colour, "size": 14 if symbol == "star" else 7},
            text=[f"trial {point.trial}: {plain(number(point.value))}" for point in mine],
            hovertemplate="%{text}<br>%{y:.3f}<extra>%{fullData.name}</extra>",
        )
    places, texts = zip(*axis.ticks, strict=True)
    figure.update_xaxes(tickvals=places, ticktext=[_folded(t) for t in texts], range=_range(axis))
    title = content.experiment.search.objective.replace("f1_macro", "macro-F1")
    figure.update_yaxes(title=title, range=_scores(content))
    figure.update_layout(showlegend=False)
    return figure


def _range(axis: Dimension) -> list[float]:
    """Names are wider than numbers: those at the ends need room."""
    room = ROOM if axis.values is None else ROOM_OF_NAMES
    return [-room, 1 + room]


def _folded(name: str) -> str:
    """A name on two lines where it is long."""
    middle = name.rfind("_", 0, len(name) // 2 + 4)
    if len(name) <= FOLDED or middle <= 0:
        return plain(name, 20)
    return f"{plain(name[: middle + 1], 16)}<br>{plain(name[middle + 1 :], 16)}"


def _scores(content: Content) -> list[float]:
    """One range of scores for all slices, so that they can be held against each other."""
    scores = [point.score for point in content.search.history]
    low, high = min(scores), max(scores)
    room = 0.08 * (high - low) or 0.05
    return [low - room, high + room]


def _slices_on_paper(content: Content) -> PaperFigure:
    found = _slices(content)
    across = min(3, len(found))
    down = math.ceil(len(found) / across)
    figure = paper(2, 1.6 * down)
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes, (axis, points) in zip(grid.flat, found, strict=False):
        for state, colour, fill in (
            ("pruned", theme.GREY, "none"),
            ("completed", theme.BLUE, theme.BLUE),
        ):
            mine = [(axis.place(p.value), p.score) for p in points if p.state == state]
            xy = np.array(mine).reshape(-1, 2).T
            axes.plot(*xy, "o", color=colour, markerfacecolor=fill)
        best = [(axis.place(p.value), p.score) for p in points if p.trial == content.best.number]
        axes.plot(*np.array(best).reshape(-1, 2).T, "*", color=theme.VERMILLION, markersize=8)
        places, texts = zip(*axis.ticks, strict=True)
        axes.set_xticks(places, [cut(text, 12) for text in texts])
        axes.set_xlim(_range(axis))
        axes.set_xlabel(axis.title.replace(" (", "\n("))
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    figure.supylabel(objective_title(content.experiment), fontsize=8)
    return figure
