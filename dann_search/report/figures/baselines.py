"""The best model's method against its baselines, seed by seed."""

import plotly.graph_objects as go

from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Plot, plain


def baselines(content: Content) -> list[Plot]:
    """Draw test scores by method, the winner on top; nothing before ``compare`` has run."""
    if content.compared is None:
        return []
    # A method that equals another one under a second name is not drawn twice.
    shown = {
        plain(name): one.f1_macro_test
        for name, one in reversed(content.compared.methods.items())
        if one.same_as is None
    }
    winner = plain(content.compared.winner)
    figure = go.Figure()
    figure.add_scatter(
        x=[value for scores in shown.values() for value in scores.values],
        y=[name for name, scores in shown.items() for _ in scores.values],
        mode="markers",
        name="one seed",
        marker={"color": theme.GREY, "symbol": "circle-open", "size": 9},
        hovertemplate="%{y}: %{x:.3f}<extra>one seed</extra>",
    )
    figure.add_scatter(
        x=[scores.mean for scores in shown.values()],
        y=list(shown),
        mode="markers",
        name="mean ± standard deviation over seeds",
        marker={
            "color": [theme.VERMILLION if name == winner else theme.BLUE for name in shown],
            "symbol": "diamond",
            "size": 11,
        },
        error_x={
            "array": [scores.sd for scores in shown.values()],
            "color": theme.GREY,
            "thickness": 1.5,
        },
        hovertemplate="%{y}: %{x:.3f}<extra>mean</extra>",
    )
    figure.update_xaxes(title="macro-F1 on target test")
    figure.update_yaxes(type="category", range=[-0.6, len(shown) - 0.4])
    return [Plot(figure, "macro-F1 of each method", 90 + 44 * len(shown))]
