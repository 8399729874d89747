"""Which parameters mattered, and how: importance, and slices of the score over each."""

from dataclasses import replace

import plotly.graph_objects as go

from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.dimensions import dimension
from dann_search.report.figures.plot import NAMED_POINT, Plot, number, part_of, plain
from dann_search.report.figures.trials import STATES
from dann_search.results.insight import evenly

MOST_POINTS = 6000
"""Trials in all slices together, evenly taken."""
ROOM, ROOM_OF_NAMES = 0.06, 0.3
"""Beside the ends of an axis, as a share of it; names are wider than numbers."""
LONG, FOLDED = 24, 12
"""Characters of names that need a figure over two columns; that stand on one line of an axis."""


def importance(content: Content) -> list[Plot]:
    """Draw the share of the spread that each parameter explains, the largest on top."""
    found = content.search.importance.parameters
    known = [one for one in reversed(found) if one.importance is not None]
    if not known:
        return []
    names = [one.name + (" *" if one.conditional else "") for one in known]
    figure = go.Figure()
    figure.add_bar(
        x=[one.importance for one in known],
        y=["<br>of ".join(map(plain, name.split(".", 1))) for name in names],
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
    row = 38 if any("." in name for name in names) else 30
    wide = max(map(len, names)) >= LONG
    return [Plot(figure, "Importance", 70 + row * len(known), wide=wide)]


def slices(content: Content) -> list[Plot]:
    """Draw the score over each parameter, the most important first.

    A parameter whose range differs by backbone has a plot for each backbone.
    """
    found, space = content.search.slices, content.experiment.space
    order = [one.name for one in content.search.importance.parameters]
    return [
        _slice(content, name)
        for name in sorted(found, key=lambda n: order.index(n) if n in order else len(order))
        if name.split(".")[0] in space
    ]


def _slice(content: Content, name: str) -> Plot:
    base = name.split(".")[0]
    axis = replace(dimension(base, content.experiment.space[base]), name=name)
    trials = content.search.slices[name]
    points = evenly(trials, MOST_POINTS // len(content.search.slices))
    groups = [
        (*STATES[state], 7, [point for point in points if point.state == state])
        for state in ("pruned", "completed")
    ]
    best = [point for point in trials if point.trial == content.best.number]
    groups.append(("best", "star", theme.VERMILLION, 14, best))
    figure = go.Figure()
    for label, symbol, colour, size, mine in groups:
        figure.add_scatter(
            x=[round(axis.place(point.value), 4) for point in mine],
            y=[point.score for point in mine],
            text=[f"trial {point.trial}: {plain(number(point.value))}" for point in mine],
            mode="markers",
            name=label,
            marker={"symbol": symbol, "color": colour, "size": size},
            hovertemplate=NAMED_POINT,
        )
    room = ROOM if axis.values is None else ROOM_OF_NAMES
    figure.update_xaxes(
        tickvals=[place for place, _ in axis.ticks],
        ticktext=[_folded(text) for _, text in axis.ticks],
        range=[-room, 1 + room],
    )
    objective = content.experiment.search.objective.replace("f1_macro", "macro-F1")
    figure.update_yaxes(title=objective, range=_scores(content))
    figure.update_layout(showlegend=False)
    return Plot(figure, axis.title, 250, part_of("trials", len(points), len(trials)))


def _folded(name: str) -> str:
    """Break a long name into two lines at an underscore."""
    middle = name.rfind("_", 0, len(name) // 2 + 4)
    if len(name) <= FOLDED or middle <= 0:
        return plain(name, 20)
    return f"{plain(name[: middle + 1], 16)}<br>{plain(name[middle + 1 :], 16)}"


def _scores(content: Content) -> list[float]:
    """One range of scores for all slices, so that they can be compared."""
    scores = [point.score for point in content.search.history]
    low, high = min(scores), max(scores)
    room = 0.08 * (high - low) or 0.05
    return [low - room, high + room]
