"""Colours of the page, its plots and the figures on paper: one palette, safe for the colour-blind.

After Okabe & Ito (2008); in the dark each colour has a lighter relative.
"""

from typing import Any

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#B3588F"
ORANGE, GREY, INK = "#B97E00", "#7A828E", "#1C2430"
FAINT = "#C3CAD4"
SOFT, CARD = "#56606E", "#FFFFFF"
"""Of small text, and behind it."""

SOURCE, TARGET = BLUE, VERMILLION
"""The two domains wherever they appear."""
CLASSES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, INK)
SYMBOLS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "cross": "✚"}
"""Of classes beyond the colours, as plots call them and as text."""
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P"}
"""The same symbols as matplotlib calls them."""
RAMP = ("#C9D6E4", "#9FBEDA", "#6FA3CE", "#3D86BF", "#0B63A0", "#063F6B")
"""From poor to good."""
HEAT = ("#F4F7FB", "#0B63A0")
"""From none to all."""

IN_THE_DARK = {
    BLUE: "#58B1EE",
    VERMILLION: "#FF8F52",
    GREEN: "#2CCB9E",
    PURPLE: "#E49CC6",
    ORANGE: "#F2C14E",
    GREY: "#98A1AE",
    INK: "#EDF1F7",
    FAINT: "#47515E",
    SOFT: "#A9B2BF",
    CARD: "#181F27",
    "#C9D6E4": "#33414F",
    "#9FBEDA": "#3C5A75",
    "#6FA3CE": "#45779F",
    "#3D86BF": "#4E95C9",
    "#0B63A0": "#86C9F7",
    "#063F6B": "#B5E0FF",
    "#F4F7FB": "#1B222B",
}
"""What the page puts in the place of each colour."""

PAGE = {
    "light": {
        "ground": "#F6F7F9",
        "card": CARD,
        "ink": "#1C2430",
        "soft": SOFT,
        "line": "#DFE3E9",
        "accent": "#005F96",
        "tint": "#E8F1F8",
        "warn-ground": "#FFF4E5",
        "warn": "#7A4100",
        "good": "#00704F",
    },
    "dark": {
        "ground": "#10151B",
        "card": "#181F27",
        "ink": "#EDF1F7",
        "soft": "#A9B2BF",
        "line": "#2E3844",
        "accent": "#7CC4F7",
        "tint": "#1D3144",
        "warn-ground": "#3A2A12",
        "warn": "#FFCB8A",
        "good": "#5FDDB6",
    },
}
"""Colours of the page, as its style sheet calls them."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def class_look(number: int) -> tuple[str, str]:
    """Colour and symbol of a class: 30 different ones, then again from the first."""
    symbols = list(SYMBOLS)
    colour = CLASSES[number % len(CLASSES)]
    return colour, symbols[number // len(CLASSES) % len(symbols)]


def plot_template(mode: str) -> dict[str, Any]:
    """Plotly's layout of all plots in ``light`` or ``dark``."""
    page = PAGE[mode]
    axis = {
        "gridcolor": page["line"],
        "linecolor": page["soft"],
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": page["line"],
        "automargin": True,
        "title": {"standoff": 8},
    }
    return {
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 12, "color": page["ink"]},
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": page["card"],
                "bordercolor": page["line"],
                "font": {"color": page["ink"], "family": FONT},
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
            },
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        }
    }
