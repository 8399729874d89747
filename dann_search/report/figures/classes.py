"""Which classes are confused, and whether probabilities can be believed."""

import math

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from dann_search.outputs.models import Measurement
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Plot, plain

Counts = NDArray[np.uint32]
Percent = NDArray[np.uint8]

WRITTEN = 20
"""Classes up to which counts are written into the matrix and every class has its tick."""
MOST_CLASSES = 150
"""Classes in the matrix: of more, those of lowest F1."""
ONE_COLUMN = 10
"""Classes whose matrix fits one column of a paper."""


def confusion(content: Content) -> list[Plot]:
    """Draw the confusion matrix, coloured by shares of the true class."""
    if content.measured is None:
        return []
    names, counts, percent = _worst_classes(content.measured)
    # Short labels may collide, so that whole names are the coordinates.
    places = [plain(name, 200) for name in names]
    few = len(names) <= WRITTEN
    figure = go.Figure()
    figure.add_heatmap(
        x=places,
        y=places,
        z=percent,
        customdata=counts,
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
    ticks = {"type": "category", "tickvals": places[::step], "ticktext": labels, "ticks": ""}
    turned = -90 if max(map(len, labels)) > 3 else 0
    figure.update_xaxes(title="predicted class", tickangle=turned, showgrid=False, **ticks)
    figure.update_yaxes(title="true class", autorange="reversed", showgrid=False, **ticks)
    height = min(900, 130 + max(26 * len(content.measured.per_class), 170))
    return [Plot(figure, "Confusion matrix", height, wide=len(names) > ONE_COLUMN)]


def _worst_classes(measured: Measurement) -> tuple[list[str], Counts, Percent]:
    """Select the classes of the matrix: all, or of many those of lowest F1, in their order.

    Returns:
        Names, images by true and predicted class, and these in percent of the true class.
    """
    counts = np.array(measured.confusion, np.uint32)
    percent = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    scores = [row.f1 for row in measured.per_class]
    shown = np.sort(np.argsort(scores, kind="stable")[:MOST_CLASSES])
    names = [measured.per_class[label].name for label in shown]
    among = np.ix_(shown, shown)
    return names, counts[among], percent[among].round().astype(np.uint8)


def reliability(content: Content) -> list[Plot]:
    """Draw accuracy by confidence, and below it how many images have that confidence."""
    if content.measured is None:
        return []
    bins = [one for one in content.measured.reliability if one.n]
    accuracy = [one.accuracy for one in bins]
    bars = {
        "x": [round((one.low + one.high) / 2, 4) for one in bins],
        "width": [one.high - one.low for one in bins],
    }
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="perfect calibration",
        line={"color": theme.GREY, "dash": "dash", "width": 1.5},
        hoverinfo="skip",
    )
    figure.add_bar(
        **bars,
        y=accuracy,
        name="accuracy",
        marker={"color": theme.BLUE, "line": {"width": 1, "color": theme.HEAT[0]}},
        customdata=[[one.confidence, one.n] for one in bins],
        hovertemplate="confidence %{customdata[0]:.3f}, accuracy %{y:.3f}, "
        "%{customdata[1]} images<extra></extra>",
    )
    figure.add_scatter(
        x=[one.confidence for one in bins],
        y=accuracy,
        mode="markers",
        name="mean confidence of the bin",
        marker={"color": theme.VERMILLION, "size": 8, "symbol": "diamond"},
        cliponaxis=False,
        hoverinfo="skip",
    )
    figure.add_bar(
        **bars,
        y=[one.n for one in bins],
        yaxis="y2",
        marker={"color": theme.GREY},
        showlegend=False,
        hovertemplate="%{y} images<extra></extra>",
    )
    figure.update_layout(
        xaxis={"title": "confidence (largest probability)", "range": [0, 1], "anchor": "y2"},
        yaxis={"title": "accuracy", "domain": [0.34, 1], "range": [0, 1.02]},
        yaxis2={"title": "images", "domain": [0, 0.24], "nticks": 4, "rangemode": "tozero"},
        barmode="overlay",
    )
    return [Plot(figure, "Reliability", 470)]
