"""What all figures share: a plot of the page, text that stays text, and paper's style."""

import html
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as PaperFigure

from dann_search.evaluation.picture import picture_style
from dann_search.report import theme

Traces = list[Any]


@dataclass(frozen=True)
class Plot:
    """One plot of the page.

    Attributes:
        name: identifies it in the page; never made of anything a user wrote.
        figure: what is drawn.
        title: above it, as text: no markup.
        height: in pixels.
        note: below the title, of what is not drawn because there is too much.
    """

    name: str
    figure: go.Figure
    title: str = ""
    height: int = 320
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """A figure fit for a paper, drawn when it is asked for."""

    name: str
    draw: Callable[[], PaperFigure]


def plain(text: object, most: int = 40) -> str:
    """Text for Plotly, which would take ``<`` and ``&`` for markup; long names are cut."""
    return html.escape(cut(text, most), quote=False)


def cut(text: object, most: int = 24) -> str:
    """Text of at most so many characters."""
    shown = str(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def part_of(what: str, shown: int, of: int) -> str:
    """Say which part is drawn; empty where all is."""
    return f"{shown:,} of {of:,} {what}." if shown < of else ""


def number(value: object) -> str:
    """A value as axes and tables show it: three significant digits of what is no integer."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def columns(count: int) -> float:
    """Width of a figure in inches: one column of a paper's two, or both."""
    return 3.4 if count == 1 else 7.0


def paper_style(texts: Iterable[str] = ()) -> AbstractContextManager[str]:
    """Set Matplotlib up for figures in which these texts are; as ``picture_style``."""
    settings: Any = {
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": theme.INK,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "axes.grid": True,
        "grid.color": "#E3E6EB",
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
        # The same figure gives the same file.
        "svg.hashsalt": "dann-search",
    }
    return picture_style(texts, settings)


def paper(width: int = 1, height: float = 2.4) -> PaperFigure:
    """An empty figure over one or two columns, ``height`` in inches."""
    return PaperFigure(figsize=(columns(width), height), layout="constrained")
