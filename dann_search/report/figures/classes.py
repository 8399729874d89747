"""Where classes are confused, and whether probabilities can be believed."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as PaperFigure
from numpy.typing import NDArray

from dann_search.outputs.models import Measurement, ReliabilityBin
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Paper, Plot, cut, paper, plain

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

WRITTEN, MOST_CLASSES = 20, 150
"""Classes up to which counts are written into the matrix; that it has at most."""


def plots(content: Content) -> list[Plot]:
    """Confusion matrix, reliability."""
    found = []
    if content.measured:
        height = min(900, 130 + max(26 * len(content.measured.per_class), 170))
        found.append(Plot("confusion", _confusion(content.measured), "Confusion matrix", height))
        figure = _reliability(content.measured.reliability)
        found.append(Plot("reliability", figure, "Reliability", 470))
    return found


def papers(content: Content) -> Iterator[Paper]:
    """The same for paper."""
    if measured := content.measured:
        yield Paper("confusion", lambda: _confusion_on_paper(measured))
        yield Paper("reliability", lambda: _reliability_on_paper(measured.reliability))


def _shares(measured: Measurement) -> tuple[list[str], Counts, Floats]:
    """Class names, counts, and counts as shares of each true class; of many the worst."""
    counts = np.array(measured.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    scores = [row.f1 for row in measured.per_class]
    shown = np.sort(np.argsort(scores, kind="stable")[:MOST_CLASSES])
    among = np.ix_(shown, shown)
    return [measured.per_class[label].name for label in shown], counts[among], shares[among]


def _confusion(measured: Measurement) -> go.Figure:
    names, counts, shares = _shares(measured)
    # Short labels may be the same: places are whole names.
    places = [plain(name, 200) for name in names]
    few = len(names) <= WRITTEN
    figure = go.Figure()
    figure.add_heatmap(
        x=places,
        y=places,
        z=(100 * shares).round().astype(np.uint8),
        customdata=counts.astype(np.uint32),
        text=[[str(count) if count else "" for count in row] for row in counts] if few else None,
        texttemplate="%{text}" if few else None,
        hovertemplate="%{y} taken for %{x}: %{customdata}, %{z} % of the class<extra></extra>",
        zmin=0,
        zmax=100,
        xgap=int(few),
        ygap=int(few),
        colorscale=[[0, theme.HEAT[0]], [1, theme.HEAT[1]]],
        showscale=False,
    )
    step = 1 if few else math.ceil(len(names) / WRITTEN)
    labels = [plain(name, 18) for name in names[::step]]
    turned = -90 if max(map(len, labels)) > 3 else 0
    ticks = {"tickvals": places[::step], "ticktext": labels, "showgrid": False, "ticks": ""}
    figure.update_xaxes(type="category", title="predicted class", tickangle=turned, **ticks)
    figure.update_yaxes(type="category", title="true class", autorange="reversed", **ticks)
    return figure


def _confusion_on_paper(measured: Measurement) -> PaperFigure:
    names, counts, shares = _shares(measured)
    side = max(3.4, min(10.0, 0.26 * len(names) + 1.2))
    figure = PaperFigure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shades = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", theme.HEAT[1]])
    axes.imshow(shares, cmap=shades, vmin=0, vmax=1)
    labels = [cut(name) for name in names]
    turned = 90 if max(map(len, labels)) > 2 else 0
    step = max(1, math.ceil(len(names) / (2 * WRITTEN)))
    axes.set_xticks(range(0, len(names), step), labels[::step], rotation=turned)
    axes.set_yticks(range(0, len(names), step), labels[::step])
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.grid(False)
    if len(names) <= WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(count) if count else ""
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=6)
    return figure


def _filled(bins: Sequence[ReliabilityBin]) -> list[ReliabilityBin]:
    return [one for one in bins if one.n]


def _reliability(bins: Sequence[ReliabilityBin]) -> go.Figure:
    filled = _filled(bins)
    middles = [round((one.low + one.high) / 2, 4) for one in filled]
    widths = [one.high - one.low for one in filled]
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="perfect calibration", hoverinfo="skip",
        line={"color": theme.GREY, "dash": "dash", "width": 1.5},
    )  # fmt: skip
    figure.add_bar(
        x=middles,
        y=[one.accuracy for one in filled],
        width=widths,
        name="accuracy",
        marker={"color": theme.BLUE, "line": {"width": 1, "color": theme.HEAT[0]}},
        customdata=[[one.confidence, one.n] for one in filled],
        hovertemplate="confidence %{customdata[0]:.3f}, accuracy %{y:.3f}, "
        "%{customdata[1]} images<extra></extra>",
    )
    figure.add_scatter(
        x=[one.confidence for one in filled],
        y=[one.accuracy for one in filled],
        mode="markers",
        name="mean confidence of the bin",
        hoverinfo="skip",
        cliponaxis=False,
        marker={"color": theme.VERMILLION, "size": 8, "symbol": "diamond"},
    )
    figure.add_bar(
        x=middles, y=[one.n for one in filled], width=widths, yaxis="y2", showlegend=False,
        marker={"color": theme.GREY},
        hovertemplate="%{y} images<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        xaxis={"title": "confidence (largest probability)", "range": [0, 1], "anchor": "y2"},
        yaxis={"title": "accuracy", "domain": [0.34, 1], "range": [0, 1.02]},
        yaxis2={"title": "images", "domain": [0, 0.24], "nticks": 4, "rangemode": "tozero"},
        barmode="overlay",
    )
    return figure


def _reliability_on_paper(bins: Sequence[ReliabilityBin]) -> PaperFigure:
    filled = _filled(bins)
    middles = [(one.low + one.high) / 2 for one in filled]
    widths = [one.high - one.low for one in filled]
    figure = paper(1, 3.2)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    edge = {"edgecolor": "white", "linewidth": 0.6}
    above.bar(middles, [o.accuracy for o in filled], widths, color=theme.BLUE, **edge)
    above.plot([0, 1], [0, 1], "--", color=theme.GREY, label="perfect calibration")
    confidence = [one.confidence for one in filled]
    accuracy = [one.accuracy for one in filled]
    above.plot(confidence, accuracy, "D", color=theme.VERMILLION, label="mean confidence")
    above.set_ylabel("accuracy")
    above.set_xlim(0, 1)
    above.legend()
    below.bar(middles, [one.n for one in filled], widths, color=theme.GREY, **edge)
    below.set_xlabel("confidence (largest probability)")
    below.set_ylabel("images")
    return figure
