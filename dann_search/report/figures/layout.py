"""From the plots of a figure to one picture in the size of a paper's columns."""

import math
import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dann_search.report import theme
from dann_search.report.figures.plot import Plot, plain

CSS_DPI = 96
"""Pixels that browsers take for an inch."""
COLUMN, COLUMNS = 326, 672
"""Width of one column of a paper (3.4 inches) and of both (7 inches), in pixels."""
SHRINK = 0.7
"""Height on paper as a share of the height on the page."""
ACROSS = 3
"""Plots in a row of a figure."""
TITLE_WIDTH = 32
"""Characters in a line of a plot's title."""
LINE, FOOT, SIDE = 19, 46, 62
"""Room for a line of text, for what is below an axis and for what is beside it, in pixels."""
LETTER, SYMBOL = 7, 45
"""Width of a letter and of a symbol in a legend, in pixels."""
FONT_SIZE = 11
LISTED = 30
"""Names up to which plots side by side have a legend."""


def on_paper(plots: Sequence[Plot]) -> go.Figure:
    """Return one figure of all plots, on white."""
    if len(plots) == 1:
        figure = go.Figure(plots[0].figure)
        width, height = COLUMNS if plots[0].wide else COLUMN, SHRINK * plots[0].height
    else:
        figure, height = side_by_side(plots)
        width = COLUMNS
    white = {"paper_bgcolor": "white", "plot_bgcolor": "white"}
    figure.update_layout(template=theme.plot_template("light"), **white)
    figure.update_xaxes(title_font_size=FONT_SIZE).update_yaxes(title_font_size=FONT_SIZE)
    return figure.update_layout(width=width, height=round(height), font_size=FONT_SIZE)


def side_by_side(plots: Sequence[Plot]) -> tuple[go.Figure, float]:
    """Arrange plots in rows, each under its title.

    One legend on top serves plots of the same names; otherwise each plot has its own.

    Returns:
        The figure and its height.
    """
    across = min(ACROSS, len(plots))
    down = math.ceil(len(plots) / across)
    names = [[trace.name for trace in plot.figure.data] for plot in plots]
    shared = all(one == names[0] for one in names)
    legend_lines = 0 if shared else max(map(len, names))
    titles = [textwrap.wrap(plot.title, TITLE_WIDTH) for plot in plots]
    head = LINE * (max(map(len, titles)) + legend_lines) + 6
    inner = down * (SHRINK * plots[0].height - FOOT) + (down - 1) * (head + FOOT)
    figure = make_subplots(
        down,
        across,
        vertical_spacing=(head + FOOT) / inner if down > 1 else 0,
        horizontal_spacing=SIDE / COLUMNS,
    )
    for index, (plot, title) in enumerate(zip(plots, titles, strict=True)):
        row, column = index // across + 1, index % across + 1
        own = 0 if shared or len(names[index]) < 2 else len(names[index])
        legend = "legend" if shared or not index else f"legend{index + 1}"
        shown = not index if shared else own > 0
        for trace in plot.figure.data:
            figure.add_trace(go.Scatter(trace, legend=legend, showlegend=shown), row, column)
        _copy_layout(plot.figure.layout, figure, row, column)
        figure.add_annotation(
            text="<br>".join(map(plain, title)), x=0, y=1, yshift=3 + LINE * own, align="left",
            xref="x domain", yref="y domain", xanchor="left", yanchor="bottom", showarrow=False,
            row=row, col=column,
        )  # fmt: skip
        if own:
            x, y = figure.get_subplot(row, column)
            corner = {"x": x.domain[0], "y": y.domain[1], "xanchor": "left", "yanchor": "bottom"}
            figure.update_layout({legend: {**corner, "orientation": "v"}})
    top = head
    listed = shared and 1 < len(names[0]) <= LISTED
    if listed:
        in_a_line = max(1, COLUMNS // (LETTER * max(map(len, names[0])) + SYMBOL))
        top += LINE * math.ceil(len(names[0]) / in_a_line)
        legend_on_top = {"yref": "container", "y": 1, "yanchor": "top", "itemsizing": "constant"}
        figure.update_layout(legend=legend_on_top)
    figure.update_layout(margin_t=top, showlegend=listed or not shared)
    return figure, inner + top + FOOT


def _copy_layout(layout: go.Layout, figure: go.Figure, row: int, column: int) -> None:
    """Give a subplot the axes, the lines and the remarks of a plot."""
    x, y = figure.get_subplot(row, column)
    x.update(layout.xaxis)
    y.update(layout.yaxis)
    if y.scaleanchor:
        y.scaleanchor = y.anchor
    for shape in layout.shapes:
        figure.add_shape(shape, row=row, col=column)
    for remark in layout.annotations:
        figure.add_annotation(remark, row=row, col=column)
