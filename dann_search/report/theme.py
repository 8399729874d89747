"""Colours of the page and its figures: one palette that colour-blind readers can tell apart.

After Okabe & Ito (2008). Figures are drawn in the colours of the light page; the page replaces each
by its counterpart in ``IN_THE_DARK``.
"""

from typing import Any

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#B3588F"
ORANGE, GREY, INK = "#B97E00", "#7A828E", "#1C2430"
FAINT = "#C3CAD4"
SOFT, CARD = "#56606E", "#FFFFFF"
"""Small text, and what is behind it."""

SOURCE, TARGET = BLUE, VERMILLION
"""The two domains wherever they appear."""
CLASSES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, INK)
SYMBOLS = {"circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "cross": "✚"}
"""Symbols of classes beyond the colours, by Plotly's name and as text."""
RAMP = ("#C9D6E4", "#9FBEDA", "#6FA3CE", "#3D86BF", "#0B63A0", "#063F6B")
"""Scores from poor to good."""
HEAT = ("#F4F7FB", "#0B63A0")
"""Shares from none to all."""

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
"""The dark page's colour by the light one."""

PAGE = {
    "light": {
        "ground": "#F6F7F9",
        "card": CARD,
        "ink": INK,
        "soft": SOFT,
        "line": "#DFE3E9",
        "accent": "#005F96",
        "tint": "#E8F1F8",
        "warn-ground": "#FFF4E5",
        "warn": "#7A4100",
    },
    "dark": {
        "ground": "#10151B",
        "card": IN_THE_DARK[CARD],
        "ink": IN_THE_DARK[INK],
        "soft": IN_THE_DARK[SOFT],
        "line": "#2E3844",
        "accent": "#7CC4F7",
        "tint": "#1D3144",
        "warn-ground": "#3A2A12",
        "warn": "#FFCB8A",
    },
}
"""Colours of the page by their names in its style sheet."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def class_look(number: int) -> tuple[str, str]:
    """Return colour and symbol of a class: 30 different looks, which then repeat."""
    symbols = list(SYMBOLS)
    colour = CLASSES[number % len(CLASSES)]
    return colour, symbols[number // len(CLASSES) % len(symbols)]


def plot_template(mode: str) -> dict[str, Any]:
    """Return Plotly's template of all plots, mode ``light`` or ``dark``."""
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
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        }
    }
