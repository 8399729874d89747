"""Figures for a paper: those of the page as PNG and SVG, drawn by a browser without a window.

Kaleido, Plotly's own export, starts Chrome or Chromium and closes it. Nothing is downloaded.
"""

import asyncio
import importlib.util
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import plotly.graph_objects as go
from PIL import Image

from dann_search.errors import InputError, in_one_line
from dann_search.report.figures.layout import CSS_DPI, on_paper
from dann_search.report.figures.plot import Plot

KINDS = ("png", "svg")
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
    """Draw each figure that has plots; the same content gives the same bytes.

    Args:
        figures: plots by the name of the figure.

    Returns:
        Contents of the files by their name.

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
