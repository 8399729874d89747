"""What all figures share: a plot and its size, and text that stays text."""

import html
from dataclasses import dataclass

import plotly.graph_objects as go

FEW_TICKS = 8
"""Whole numbers below which each has its tick."""
NAMED_POINT = "%{text}: %{y:.3f}<extra>%{fullData.name}</extra>"
"""Hover text of a point that carries its own text."""


@dataclass(frozen=True)
class Plot:
    """One plot of a figure, without the theme; its title, and its height in pixels on the page.

    ``note`` says which part of the data is drawn, where it is too much for one plot; ``wide`` is
    what needs both columns of a paper.
    """

    figure: go.Figure
    title: str = ""
    height: int = 320
    note: str = ""
    wide: bool = False


def plain(text: object, most: int = 40) -> str:
    """Escape text for Plotly, which reads HTML tags in labels; cut it to ``most`` characters."""
    shown = str(text)
    shown = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    return html.escape(shown, quote=False)


def part_of(what: str, shown: int, of: int) -> str:
    """Say which part is drawn; empty where all is."""
    return f"{shown:,} of {of:,} {what}." if shown < of else ""


def count_by_whole_numbers(figure: go.Figure, title: str, last: int) -> None:
    """Title an x axis of whole numbers from 1; Plotly would put ticks between a few of them."""
    figure.update_xaxes(title=title, tickformat="d", dtick=1 if last < FEW_TICKS else None)


def number(value: object) -> str:
    """Format a value for axes and tables: floats with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
