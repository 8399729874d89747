"""How the best trial learned: scores, losses, domain accuracy, lambda, learning rates."""

from typing import Any

import plotly.graph_objects as go

from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Plot, count_by_whole_numbers

CHANCE = 0.5
"""Accuracy of a domain discriminator that guesses."""

PANELS = {
    "score on target val": {
        "f1_macro_val": ("macro-F1", theme.BLUE),
        "accuracy_val": ("accuracy", theme.ORANGE),
    },
    "loss (nats)": {
        "label_loss": ("label loss, source", theme.BLUE),
        "domain_loss": ("domain loss", theme.VERMILLION),
        "adaptation_loss": ("adaptation loss", theme.GREEN),
    },
    "domain accuracy": {"domain_accuracy": ("of the discriminator", theme.VERMILLION)},
    "lambda": {"lambda_": ("lambda", theme.PURPLE)},
    "learning rate": {
        "learning_rate": ("backbone", theme.BLUE),
        "head_learning_rate": ("heads", theme.GREEN),
    },
}
"""Curves by the title of their plot: field of an epoch, its name and colour."""


def learning_curves(content: Content) -> list[Plot]:
    """Draw every group of curves that has values; without a discriminator some have none."""
    plots = []
    for title, curves in PANELS.items():
        columns: dict[str, list[Any]] = {
            field: [epoch.get(field) for epoch in content.epochs] for field in curves
        }
        known = {field: column for field, column in columns.items() if None not in column}
        if not known or not content.epochs:
            continue
        figure = go.Figure()
        for field, values in known.items():
            name, colour = curves[field]
            figure.add_scatter(
                x=[epoch["epoch"] for epoch in content.epochs],
                y=values,
                mode="lines+markers",
                name=name,
                # The heads may learn at the backbone's rate: a dashed line hides no other.
                line={"color": colour, "dash": "dash" if name == "heads" else "solid"},
                marker={"size": 5},
                hovertemplate="epoch %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
            )
        if "domain_accuracy" in known:
            _mark_chance(figure, min(known["domain_accuracy"]))
        if content.best.best_epoch is not None:
            dashes = {"color": theme.GREY, "dash": "dash", "width": 1}
            figure.add_vline(content.best.best_epoch, line=dashes)
        if "learning_rate" in known:
            figure.update_yaxes(type="log", dtick="D2", tickformat="~g")
        count_by_whole_numbers(figure, "epoch", len(content.epochs))
        figure.update_layout(showlegend=len(known) > 1)
        plots.append(Plot(figure, title, 280))
    return plots


def _mark_chance(figure: go.Figure, lowest: float) -> None:
    """Mark the accuracy of guessing, and show it whatever the values are."""
    figure.add_hline(CHANCE, line={"color": theme.GREY, "dash": "dot", "width": 1})
    figure.add_annotation(
        text="guessing", x=1, y=CHANCE, xref="x domain", xanchor="right", yshift=8,
        showarrow=False, font={"color": theme.SOFT, "size": 11},
    )  # fmt: skip
    figure.update_yaxes(range=[min(CHANCE - 0.1, lowest - 0.02), 1.02])
