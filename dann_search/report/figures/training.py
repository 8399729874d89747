"""How the best trial learned: scores, losses, domain accuracy, lambda, learning rates."""

from collections.abc import Iterator
from dataclasses import dataclass

import plotly.graph_objects as go
from matplotlib.figure import Figure as PaperFigure
from matplotlib.ticker import MaxNLocator

from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Paper, Plot, paper

CHANCE = 0.5


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis.

    Attributes:
        name: identifies it.
        title: what the axis shows, with its unit.
        curves: label, colour and field of an epoch.
        chance: where guessing would lie.
        log: whether the axis is logarithmic.
    """

    name: str
    title: str
    curves: tuple[tuple[str, str, str], ...]
    chance: float | None = None
    log: bool = False


PANELS = (
    Panel(
        "scores",
        "score on target val",
        (("macro-F1", theme.BLUE, "f1_macro_val"), ("accuracy", theme.ORANGE, "accuracy_val")),
    ),
    Panel(
        "losses",
        "loss (nats)",
        (
            ("label loss, source", theme.BLUE, "label_loss"),
            ("domain loss", theme.VERMILLION, "domain_loss"),
            ("adaptation loss", theme.GREEN, "adaptation_loss"),
        ),
    ),
    Panel(
        "domain-accuracy",
        "domain accuracy",
        (("of the discriminator", theme.VERMILLION, "domain_accuracy"),),
        chance=CHANCE,
    ),
    Panel("lambda", "lambda", (("lambda", theme.PURPLE, "lambda_"),)),
    Panel(
        "rates",
        "learning rate",
        (
            ("backbone", theme.BLUE, "learning_rate"),
            ("heads", theme.GREEN, "head_learning_rate"),
        ),
        log=True,
    ),
)


def plots(content: Content) -> list[Plot]:
    """One a panel that has anything to show."""
    return [
        Plot(f"training-{panel.name}", _panel(content, panel), panel.title, 280)
        for panel in _panels(content)
    ]


def papers(content: Content) -> Iterator[Paper]:
    """All panels in one."""
    if _panels(content):
        yield Paper("learning_curves", lambda: _on_paper(content))


def _panels(content: Content) -> list[Panel]:
    return [panel for panel in PANELS if _curves(content, panel)]


def _curves(content: Content, panel: Panel) -> list[tuple[str, str, list[float]]]:
    """Curves with a value in every epoch; a method without a discriminator has no domain loss."""
    found = []
    for label, colour, name in panel.curves:
        values = [epoch.get(name) for epoch in content.epochs]
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            found.append((label, colour, known))
    return found


def _panel(content: Content, panel: Panel) -> go.Figure:
    figure = go.Figure()
    x = [epoch["epoch"] for epoch in content.epochs]
    for label, colour, values in _curves(content, panel):
        figure.add_scatter(
            x=x,
            y=values,
            mode="lines+markers",
            name=label,
            # The heads may learn at the backbone's rate: both are to be seen.
            line={"color": colour, "dash": "dash" if label == "heads" else "solid"},
            marker={"size": 5},
            hovertemplate="epoch %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
        )
    if panel.chance is not None:
        figure.add_hline(panel.chance, line={"color": theme.GREY, "dash": "dot", "width": 1})
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=panel.chance, yshift=8, text="guessing",
            showarrow=False, font={"color": theme.SOFT, "size": 11},
        )  # fmt: skip
        lowest = min(value for _, _, values in _curves(content, panel) for value in values)
        figure.update_yaxes(range=[min(CHANCE - 0.1, lowest - 0.02), 1.02])
    if content.best.best_epoch is not None:
        figure.add_vline(
            content.best.best_epoch, line={"color": theme.GREY, "dash": "dash", "width": 1}
        )
    figure.update_xaxes(title="epoch")
    if panel.log:
        figure.update_yaxes(type="log", dtick="D2", tickformat="~g")
    figure.update_layout(showlegend=len(_curves(content, panel)) > 1)
    return figure


def _on_paper(content: Content) -> PaperFigure:
    panels = _panels(content)
    down = -(-len(panels) // 3)
    figure = paper(2, 1.9 * down)
    grid = figure.subplots(down, min(3, len(panels)), squeeze=False)
    x = [epoch["epoch"] for epoch in content.epochs]
    for axes, panel in zip(grid.flat, panels, strict=False):
        curves = _curves(content, panel)
        for label, colour, values in curves:
            line = ".--" if label == "heads" else ".-"
            axes.plot(x, values, line, color=colour, label=label)
        if panel.chance is not None:
            axes.axhline(panel.chance, color=theme.GREY, linestyle=":", linewidth=0.8)
        if content.best.best_epoch is not None:
            axes.axvline(content.best.best_epoch, color=theme.GREY, linestyle="--", linewidth=0.8)
        if panel.log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(panel.title)
        if len(curves) > 1:
            axes.legend()
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return figure
