"""Figures for a paper: those of the page as PNG and SVG, drawn by a browser without a window.

Kaleido, Plotly's own export, starts Chrome or Chromium and closes it. Nothing is downloaded.
"""

import asyncio
import importlib.util
import io
import math
import re
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from dann_search.errors import InputError, in_one_line
from dann_search.report import theme
from dann_search.report.figures.plot import Plot, plain

KINDS = ("png", "svg")
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
TITLE_HEIGHT = 70
"""Room for the title of a single plot on the screen, and for the legend below it."""
LETTER, SYMBOL = 7, 45
"""Width of a letter and of a symbol in a legend, in pixels."""
FONT_SIZE = 11
LISTED = 30
"""Names up to which plots side by side have a legend."""
DPI = 300
"""Pixels an inch of PNG files."""
TABS = 2
"""Figures drawn at a time."""
TIMEOUT = 600
"""Seconds in which all figures must be drawn: a browser that hangs at its start never ends."""
UNREACHABLE_PROXY = "127.0.0.1:9"
"""Proxy of the browser: it reads files of this machine and reaches no network."""


def check_browser() -> None:
    """Check that figures can be exported.

    Raises:
        InputError: Kaleido is not installed, or no browser is found.
    """
    if importlib.util.find_spec("kaleido") is None:
        raise InputError("--figures needs kaleido: pip install 'dann-search[report]'")
    from choreographer.browsers.chromium import Chromium

    browser = Chromium.find_browser(skip_local=False)
    if browser is None or not Path(browser).is_file():
        missing = f"{browser} does not exist" if browser else "none is installed"
        raise InputError(
            f"--figures needs a browser to draw with, and {missing}: install Chromium (apt-get "
            "install chromium) or Chrome, or name its program in the environment variable "
            "BROWSER_PATH"
        )


def export(figures: dict[str, list[Plot]]) -> dict[str, bytes]:
    """Return the files of each figure that has plots; the same content gives the same bytes.

    Raises:
        InputError: the browser does not start, or fails.
    """
    drawn = {name: on_paper(plots) for name, plots in figures.items() if plots}
    # In a thread of its own: a notebook's already runs an event loop.
    with ThreadPoolExecutor(1) as pool:
        try:
            within = asyncio.wait_for(_export(drawn), TIMEOUT)
            return pool.submit(asyncio.run, within).result()
        except Exception as exc:
            raise InputError(f"--figures: the browser failed: {in_one_line(exc)}") from exc


async def _export(figures: dict[str, go.Figure]) -> dict[str, bytes]:
    from kaleido import Kaleido

    # Without MathJax, which Kaleido would fetch from the network: a class may be called "$5".
    async with Kaleido(n=TABS, mathjax=False, proxy_server=UNREACHABLE_PROXY) as browser:

        async def draw(name: str, kind: str) -> tuple[str, bytes]:
            scale = DPI / CSS_DPI if kind == "png" else 1
            content = await browser.calc_fig(figures[name], {"format": kind, "scale": scale})
            return f"{name}.{kind}", (_with_dpi if kind == "png" else _without_ids)(content)

        tasks = [draw(name, kind) for name in figures for kind in KINDS]
        return dict(await asyncio.gather(*tasks))


def _with_dpi(png: bytes) -> bytes:
    """Note the resolution, by which programs know the size in inches."""
    content = io.BytesIO()
    Image.open(io.BytesIO(png)).save(content, "PNG", dpi=(DPI, DPI))
    return content.getvalue()


def _without_ids(svg: bytes) -> bytes:
    """Remove the random identifiers of a drawing."""
    svg = re.sub(rb'(class="trace [a-z]+ trace)[0-9a-f]{6}"', rb'\1"', svg)
    drawn = re.search(rb'id="defs-([0-9a-f]{6})"', svg)
    return re.sub(rb"(defs-|clip|legend[0-9]*)" + drawn[1], rb"\1", svg) if drawn else svg


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


def on_screen(plots: Sequence[Plot]) -> go.Figure:
    """Return one figure of all plots, as wide as its place in a notebook or on a page."""
    if len(plots) == 1:
        figure, height = go.Figure(plots[0].figure), float(plots[0].height + TITLE_HEIGHT)
        title = plain(plots[0].title, 200)
        figure.update_layout(title={"text": title, "font_size": 15}, margin_t=TITLE_HEIGHT)
    else:
        figure, height = side_by_side(plots)
    figure.update_layout(template=theme.plot_template("light"))
    white = {"paper_bgcolor": "white", "plot_bgcolor": "white"}
    return figure.update_layout(height=round(height), **white)


def side_by_side(plots: Sequence[Plot]) -> tuple[go.Figure, float]:
    """Arrange plots in rows, each under its title; return the figure and its height.

    One legend on top serves plots of the same names; otherwise each plot has its own.
    """
    across = min(ACROSS, len(plots))
    down = math.ceil(len(plots) / across)
    names = [[trace.name for trace in plot.figure.data] for plot in plots]
    shared = all(one == names[0] for one in names)
    titles = [textwrap.wrap(plot.title, TITLE_WIDTH) for plot in plots]
    head = LINE * (max(map(len, titles)) + (0 if shared else max(map(len, names)))) + 6
    inner = down * (SHRINK * plots[0].height - FOOT) + (down - 1) * (head + FOOT)
    vertical = (head + FOOT) / inner if down > 1 else 0
    figure = make_subplots(
        down, across, vertical_spacing=vertical, horizontal_spacing=SIDE / COLUMNS
    )
    for index, (plot, title) in enumerate(zip(plots, titles, strict=True)):
        place = {"row": index // across + 1, "col": index % across + 1}
        own = 0 if shared or len(names[index]) < 2 else len(names[index])
        legend = "legend" if shared or not index else f"legend{index + 1}"
        shown = not index if shared else own > 0
        for trace in plot.figure.data:
            figure.add_trace(go.Scatter(trace, legend=legend, showlegend=shown), **place)
        _copy_layout(plot.figure.layout, figure, place)
        figure.add_annotation(
            text="<br>".join(map(plain, title)), x=0, y=1, yshift=3 + LINE * own, align="left",
            xref="x domain", yref="y domain", xanchor="left", yanchor="bottom", showarrow=False,
            **place,
        )  # fmt: skip
        if own:
            x, y = figure.get_subplot(**place)
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


def _copy_layout(layout: go.Layout, figure: go.Figure, place: dict[str, int]) -> None:
    """Give a subplot the axes, the lines and the remarks of a plot."""
    x, y = figure.get_subplot(**place)
    x.update(layout.xaxis)
    y.update(layout.yaxis)
    if y.scaleanchor:
        y.scaleanchor = y.anchor
    for shape in layout.shapes:
        figure.add_shape(shape, **place)
    for remark in layout.annotations:
        figure.add_annotation(remark, **place)
