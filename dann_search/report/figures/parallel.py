"""The recipes of all trials on parallel axes, one for each searched parameter."""

from collections.abc import Sequence

import plotly.graph_objects as go

from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.dimensions import Dimension, dimension
from dann_search.report.figures.plot import Plot, number, part_of, plain
from dann_search.report.figures.trials import objective_title
from dann_search.results.rows import TrialRow

MOST_PLACES = 8000
"""Values drawn of all trials together, those of the best trials."""
BLANK = -0.09
"""Where a trial lies on the axis of a parameter that does not apply to it."""


def parallel_coordinates(content: Content) -> list[Plot]:
    """Draw each trial as a line through its values, the best one on top.

    Plotly's own parallel coordinates stand upright, which leaves no room for names on a phone: here
    each axis is a row, from 0 at its left to 1 at its right end.
    """
    space, best = content.experiment.space, content.best.number
    if not space:
        return []
    scored = [row for row in content.search.rows if row.score is not None and row.confirms is None]
    rows = scored[: MOST_PLACES // (len(space) + 1)]
    rows.sort(key=lambda row: (row.number == best, row.score))
    scores = [row.score for row in rows if row.score is not None]
    title = objective_title(content.experiment)
    axes = [dimension(name, parameter) for name, parameter in space.items()]
    axes.append(Dimension(title, low=min(scores), high=max(scores)))
    lines = {row.number: _line(row, axes) for row in rows}

    figure = go.Figure()
    for shade, colour in enumerate(theme.RAMP):
        mine = [r for r in rows if r.number != best and _shade(lines[r.number][-1]) == shade]
        if mine:
            figure.add_trace(_trace(mine, axes, lines, colour, 1.5))
    winner = [row for row in rows if row.number == best]
    figure.add_trace(_trace(winner, axes, lines, theme.VERMILLION, 3.5))
    for level, axis in enumerate(axes):
        blank = [(BLANK, "–")] if any(line[level] == BLANK for line in lines.values()) else []
        for place, text in [*axis.ticks, *blank]:
            figure.add_annotation(
                x=place, y=level, text=plain(text, 22), showarrow=False, yshift=-12,
                xanchor="left" if place == 0 else "right" if place == 1 else "center",
                font={"size": 11, "color": theme.SOFT}, bgcolor=theme.CARD,
                opacity=0.9, borderpad=0,
            )  # fmt: skip
    names = [plain(axis.name.replace("_", " "), 26) for axis in axes[:-1]]
    figure.update_yaxes(
        tickvals=list(range(len(axes))),
        ticktext=[*names, plain(title.split(" on ")[0])],
        range=[len(axes) - 0.4, -0.4],
        showline=False,
        ticks="",
    )
    figure.update_xaxes(visible=False, range=[BLANK - 0.04, 1.04])
    figure.update_layout(showlegend=False, hovermode="closest")
    note = part_of("best trials", len(rows), len(scored))
    return [Plot(figure, "Parallel coordinates", 90 + 58 * len(axes), note, wide=True)]


def _line(row: TrialRow, axes: Sequence[Dimension]) -> list[float]:
    """Return the trial's place on each axis, the score's last."""
    values = [row.params.get(axis.name) for axis in axes[:-1]]
    places = [
        BLANK if value is None else axis.place(value)
        for axis, value in zip(axes, [*values, row.score], strict=True)
    ]
    return [round(place, 4) for place in places]


def _shade(place: float) -> int:
    """Index of the ramp's colour for a score's place on its axis."""
    return min(int(place * len(theme.RAMP)), len(theme.RAMP) - 1)


def _trace(
    rows: Sequence[TrialRow],
    axes: Sequence[Dimension],
    lines: dict[int, list[float]],
    colour: str,
    width: float,
) -> go.Scatter:
    """All lines of one colour, with a gap after each."""
    text = []
    for row in rows:
        head = f"trial {row.number} ({row.state}), {number(row.score)}"
        for axis in axes[:-1]:
            value = plain(number(row.params.get(axis.name, "–")))
            text.append(f"{head}<br>{plain(axis.name)}: {value}")
        text += [head, ""]
    return go.Scatter(
        x=[place for row in rows for place in (*lines[row.number], None)],
        y=[level for _ in rows for level in (*range(len(axes)), None)],
        text=text,
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"size": 5, "color": colour},
        hovertemplate="%{text}<extra></extra>",
    )
