"""How the search went: its trials one after another, and epoch by epoch."""

import math

import plotly.graph_objects as go

from dann_search.config.experiment import ExperimentConfig
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import NAMED_POINT, Plot, count_by_whole_numbers, part_of
from dann_search.training.result import F1_MACRO

MOST_TRIALS = 1000
"""Trials drawn: more would hide each other."""
MOST_EPOCHS = 20_000
"""Epochs drawn of all trials together, about 0.4 MB."""

STATES = {
    "pruned": ("pruned", "circle-open", theme.GREY),
    "completed": ("completed", "circle", theme.BLUE),
    "running": ("unfinished", "circle", theme.GREEN),
}
"""Name, symbol and colour of trials by their state."""


def objective_title(experiment: ExperimentConfig) -> str:
    """Name the objective for the title of an axis."""
    name = experiment.search.objective
    return "macro-F1 on target val" if name == F1_MACRO else f"{name} (chooses the trial)"


def history(content: Content) -> list[Plot]:
    """Draw trials in the order in which they ended, and the best score so far."""
    ended = list(enumerate(content.search.history, 1))
    step = math.ceil(len(ended) / MOST_TRIALS)
    best = content.best.number
    points = [(place, p) for place, p in ended if place % step == 0 or p.trial == best]
    figure = go.Figure()
    for state in ("completed", "pruned"):
        name, symbol, colour = STATES[state]
        mine = [(place, point) for place, point in points if point.state == state]
        figure.add_scatter(
            x=[place for place, _ in mine],
            y=[point.score for _, point in mine],
            text=[f"trial {point.trial}" for _, point in mine],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "color": colour, "size": 8},
            hovertemplate=NAMED_POINT,
        )
    so_far = [(place, p.best_so_far) for place, p in points if math.isfinite(p.best_so_far)]
    figure.add_scatter(
        x=[place for place, _ in so_far],
        y=[score for _, score in so_far],
        mode="lines",
        name="best completed so far",
        line={"color": theme.VERMILLION, "shape": "hv", "width": 2},
        hoverinfo="skip",
    )
    count_by_whole_numbers(figure, "trials ended", len(ended))
    figure.update_yaxes(title=objective_title(content.experiment))
    note = part_of("trials, evenly taken", len(points), len(ended))
    return [Plot(figure, "Trials in the order of their end", 340, note)]


def epochs(content: Content) -> list[Plot]:
    """Draw the objective of every trial after each epoch, the best trial on top."""
    search, best = content.search, content.best.number
    rows = search.rows[:MOST_TRIALS]
    drawn = sum(len(search.curves[row.number]) for row in rows)
    step = max(1, math.ceil(drawn / MOST_EPOCHS))
    groups = [
        (name, colour, 1.2, step, [r.number for r in rows if r.state == state and r.number != best])
        for state, (name, _, colour) in STATES.items()
    ]
    groups.append((f"trial {best}, the best", theme.VERMILLION, 2.6, 1, [best]))
    figure = go.Figure()
    for name, colour, width, every, trials in groups:
        x: list[int | None] = []
        y: list[float | None] = []
        for trial in trials:
            curve = _thinned(search.curves[trial], every)
            x += [*curve, None]
            y += [*curve.values(), None]
        if x:
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines+markers",
                name=name,
                line={"color": colour, "width": width},
                marker={"size": 4 if width < 2 else 6},
                hovertemplate="epoch %{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
            )
    count_by_whole_numbers(figure, "epoch", max(len(search.curves[row.number]) for row in rows))
    figure.update_yaxes(title=objective_title(content.experiment))
    note = part_of("best trials", len(rows), len(search.rows))
    if step > 1:
        note += f" One epoch in {step} of each, and its last."
    return [Plot(figure, "Every trial, epoch by epoch", 340, note.strip())]


def _thinned(scores: list[float], step: int) -> dict[int, float]:
    """Scores by epoch: every ``step``-th, the first and the last."""
    return {
        epoch: round(score, 5)
        for epoch, score in enumerate(scores, 1)
        if epoch % step == 0 or epoch in (1, len(scores))
    }
