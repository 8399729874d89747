"""How the search went: its trials one after another, epoch by epoch, and parameter by parameter."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.figure import Figure as PaperFigure
from matplotlib.ticker import MaxNLocator

from dann_search.config.experiment import Experiment
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.dimensions import Dimension, dimensions
from dann_search.report.figures.plot import Paper, Plot, number, paper, part_of, plain
from dann_search.results.insight import Point
from dann_search.results.reader import TrialRow
from dann_search.training.result import F1_MACRO

MOST_TRIALS, MOST_PLACES = 1000, 8000
"""Trials that are drawn, and places on parallel axes, of the best: more would hide each other."""
MOST_EPOCHS = 20_000
"""Epochs that are drawn of all trials together, some 0.4 MB."""
BLANK = -0.09
"""Where a trial lies on the axis of a parameter that does not apply to it."""


def objective_title(experiment: Experiment) -> str:
    """What the search went by, as axes call it."""
    name = experiment.search.objective
    return "macro-F1 on target val" if name == F1_MACRO else f"{name} (chooses the trial)"


def plots(content: Content) -> list[Plot]:
    """History, curves of all trials, parallel coordinates."""
    ended, trials = len(content.search.history), len(content.search.rows)
    among = part_of("best trials", min(trials, MOST_TRIALS), trials)
    if (step := _epoch_step(content)) > 1:
        among += f" One epoch in {step} of each, and its last."
    history = part_of("trials, evenly taken", len(_ended(content)), ended)
    found = [
        Plot("history", _history(content), "Trials in the order of their end", 340, history),
        Plot("epochs", _epochs(content), "Every trial, epoch by epoch", 340, among.strip()),
    ]
    if content.experiment.space:
        height = 90 + 58 * (len(content.experiment.space) + 1)
        title = "Parallel coordinates"
        drawn = len(_axes(content)[0])
        note = part_of("best trials", drawn, sum(_has_line(row) for row in content.search.rows))
        found.append(Plot("parallel", _parallel(content), title, height, note))
    return found


def papers(content: Content) -> Iterator[Paper]:
    """The same for paper."""
    yield Paper("history", lambda: _history_on_paper(content))
    yield Paper("epochs", lambda: _epochs_on_paper(content))
    if content.experiment.space:
        yield Paper("parallel_coordinates", lambda: _parallel_on_paper(content))


def _ended(content: Content) -> list[tuple[int, Point]]:
    """Trials with their place in the order of their end; of many a part."""
    points = list(enumerate(content.search.history, 1))
    step = max(1, -(-len(points) // MOST_TRIALS))
    return [one for one in points if one[0] % step == 0 or one[1].trial == content.best.number]


def _history(content: Content) -> go.Figure:
    figure = go.Figure()
    points = _ended(content)
    looks = (("completed", "circle", theme.BLUE), ("pruned", "circle-open", theme.GREY))
    for state, symbol, colour in looks:
        mine = [(place, point) for place, point in points if point.state == state]
        figure.add_scatter(
            x=[place for place, _ in mine],
            y=[point.score for _, point in mine],
            mode="markers",
            name={"completed": "completed", "pruned": "stopped early"}[state],
            marker={"symbol": symbol, "color": colour, "size": 8},
            text=[f"trial {point.trial}" for _, point in mine],
            hovertemplate="%{text}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    best = [(place, p.best_so_far) for place, p in points if np.isfinite(p.best_so_far)]
    figure.add_scatter(
        x=[place for place, _ in best],
        y=[score for _, score in best],
        mode="lines",
        name="best completed so far",
        line={"color": theme.VERMILLION, "shape": "hv", "width": 2},
        hoverinfo="skip",
    )
    figure.update_xaxes(title="trials ended", tickformat="d", dtick=1 if len(points) < 8 else None)
    figure.update_yaxes(title=objective_title(content.experiment))
    return figure


def _history_on_paper(content: Content) -> PaperFigure:
    figure = paper()
    axes = figure.subplots()
    points = _ended(content)
    for state, label, colour, fill in (
        ("completed", "completed", theme.BLUE, theme.BLUE),
        ("pruned", "stopped early", theme.GREY, "none"),
    ):
        mine = [(place, point.score) for place, point in points if point.state == state]
        xy = np.array(mine).reshape(-1, 2).T
        axes.plot(*xy, "o", label=label, color=colour, markerfacecolor=fill)
    best = [(place, p.best_so_far) for place, p in points if np.isfinite(p.best_so_far)]
    steps = np.array(best).reshape(-1, 2).T
    axes.step(*steps, where="post", color=theme.VERMILLION, label="best completed so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trials ended")
    axes.set_ylabel(objective_title(content.experiment))
    axes.legend()
    return figure


def _epoch_step(content: Content) -> int:
    """Every which epoch of a trial is drawn."""
    shown = content.search.rows[:MOST_TRIALS]
    epochs = sum(len(content.search.curves[row.number]) for row in shown)
    return max(1, -(-epochs // MOST_EPOCHS))


def _curve(content: Content, trial: int, step: int) -> list[tuple[int, float]]:
    """Epochs of a trial with their scores; every so many, and the last."""
    scores = content.search.curves[trial]
    return [
        (epoch, round(score, 5))
        for epoch, score in enumerate(scores, 1)
        if epoch % step == 0 or epoch in (1, len(scores))
    ]


def _groups(content: Content) -> list[tuple[str, str, float, list[list[tuple[int, float]]]]]:
    """Label, colour, width and curves of the trials by what became of them; the best one's last."""
    rows, step = content.search.rows[:MOST_TRIALS], _epoch_step(content)
    found = []
    for state, label, colour in (
        ("pruned", "stopped early", theme.GREY),
        ("completed", "completed", theme.BLUE),
        ("running", "unfinished", theme.GREEN),
    ):
        mine = [r.number for r in rows if r.state == state and r.number != content.best.number]
        if curves := [_curve(content, trial, step) for trial in mine]:
            found.append((label, colour, 1.2, curves))
    best = _curve(content, content.best.number, 1)
    found.append((f"trial {content.best.number}, the best", theme.VERMILLION, 2.6, [best]))
    return found


def _epochs(content: Content) -> go.Figure:
    figure = go.Figure()
    for label, colour, width, curves in _groups(content):
        x: list[int | None] = []
        y: list[float | None] = []
        for curve in curves:
            x += [*(epoch for epoch, _ in curve), None]
            y += [*(score for _, score in curve), None]
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            name=label,
            line={"color": colour, "width": width},
            marker={"size": 4 if width < 2 else 6},
            hovertemplate="epoch %{x}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="epoch", tickformat="d")
    figure.update_yaxes(title=objective_title(content.experiment))
    return figure


def _epochs_on_paper(content: Content) -> PaperFigure:
    figure = paper()
    axes = figure.subplots()
    for label, colour, width, curves in _groups(content):
        for curve in curves:
            xy = np.array(curve).reshape(-1, 2).T
            axes.plot(*xy, ".-", color=colour, linewidth=width / 1.6, label=label)
            label = "_"
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(objective_title(content.experiment))
    axes.legend()
    return figure


def _axes(content: Content) -> tuple[list[TrialRow], list[Dimension]]:
    """The trials of parallel coordinates, worst first, and its axes, the score's last."""
    rows = [row for row in content.search.rows if _has_line(row)]
    rows = rows[: MOST_PLACES // (len(content.experiment.space) + 1)]
    scores = [row.score or 0.0 for row in rows]
    rows.sort(key=lambda row: (row.number == content.best.number, row.score or 0.0))
    title = objective_title(content.experiment)
    score = Dimension(title, low=min(scores), high=max(scores))
    return rows, [*dimensions(content.experiment.space), score]


def _has_line(row: TrialRow) -> bool:
    return row.score is not None and row.confirms is None


def _line(row: TrialRow, axes: Sequence[Dimension]) -> list[float]:
    """The trial's place on each axis."""
    places = [
        axis.place(row.params[axis.name]) if axis.name in row.params else BLANK
        for axis in axes[:-1]
    ]
    return [*places, axes[-1].place(row.score)]


def _shade(row: TrialRow, axes: Sequence[Dimension]) -> int:
    """Which of the ramp's colours, from its score."""
    return min(int(axes[-1].place(row.score) * len(theme.RAMP)), len(theme.RAMP) - 1)


def _parallel(content: Content) -> go.Figure:
    """Axes lie, one under the other, so that names and values can be read on a phone too."""
    rows, axes = _axes(content)
    figure = go.Figure()
    levels = list(range(len(axes)))
    best = content.best.number
    for shade, colour in enumerate(theme.RAMP):
        mine = [r for r in rows if _shade(r, axes) == shade and r.number != best]
        if mine:
            figure.add_trace(_lines(mine, axes, colour, 1.5))
    figure.add_trace(_lines([r for r in rows if r.number == best], axes, theme.VERMILLION, 3.5))
    for level, axis in enumerate(axes):
        blank = [(BLANK, "–")] if any(_line(row, axes)[level] == BLANK for row in rows) else []
        for place, text in [*axis.ticks, *blank]:
            figure.add_annotation(
                x=place, y=level, text=plain(text, 22), showarrow=False, yshift=-12,
                xanchor="left" if place == 0 else "right" if place == 1 else "center",
                font={"size": 11, "color": theme.SOFT}, bgcolor=theme.CARD,
                opacity=0.9, borderpad=0,
            )  # fmt: skip
    names = [plain(axis.name.replace("_", " "), 26) for axis in axes]
    names[-1] = plain(axes[-1].name.split(" on ")[0])
    figure.update_yaxes(
        tickvals=levels, ticktext=names, range=[len(axes) - 0.4, -0.4], showline=False, ticks=""
    )
    figure.update_xaxes(visible=False, range=[BLANK - 0.04, 1.04])
    figure.update_layout(showlegend=False, hovermode="closest")
    return figure


def _lines(
    rows: Sequence[TrialRow], axes: Sequence[Dimension], colour: str, width: float
) -> go.Scatter:
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for row in rows:
        x += [*(round(place, 4) for place in _line(row, axes)), None]
        y += [*range(len(axes)), None]
        values: list[Any] = [row.params.get(axis.name, "–") for axis in axes[:-1]]
        head = f"trial {row.number} ({row.state}), {number(row.score)}"
        text += [
            *(f"{head}<br>{plain(a.name)}: {plain(number(v))}" for a, v in zip(axes, values)),  # noqa: B905
            head,
            "",
        ]
    return go.Scatter(
        x=x,
        y=y,
        text=text,
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"size": 5, "color": colour},
        hovertemplate="%{text}<extra></extra>",
    )


def _parallel_on_paper(content: Content) -> PaperFigure:
    rows, axes = _axes(content)
    figure = paper(2, 0.5 + 0.42 * len(axes))
    plot = figure.subplots()
    for row in rows:
        best = row.number == content.best.number
        colour = theme.VERMILLION if best else theme.RAMP[_shade(row, axes)]
        plot.plot(_line(row, axes), range(len(axes)), color=colour, linewidth=1.8 if best else 0.7)
    for level, axis in enumerate(axes):
        blank = [(BLANK, "–")] if any(_line(row, axes)[level] == BLANK for row in rows) else []
        for place, text in [*axis.ticks, *blank]:
            side = "left" if place == 0 else "right" if place == 1 else "center"
            plot.text(
                place, level + 0.3, text, ha=side, va="center", fontsize=6, color=theme.SOFT,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
            )  # fmt: skip
    plot.set_yticks(range(len(axes)), [axis.title for axis in axes])
    plot.set_ylim(len(axes) - 0.4, -0.4)
    plot.set_xticks([])
    plot.grid(False, axis="x")
    plot.tick_params(left=False)
    for spine in plot.spines.values():
        spine.set_visible(False)
    return figure
