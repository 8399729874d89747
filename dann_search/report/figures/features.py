"""Source and target features on a plane, network by network, by domain and by class."""

import numpy as np
import plotly.graph_objects as go

from dann_search.data.domain import NO_LABEL
from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.figures.plot import Plot, plain
from dann_search.report.inside import Floats

HEIGHT = 310


def features_by_domain(content: Content) -> list[Plot]:
    """Draw a plane for each network, coloured by domain."""
    plots = []
    for one in content.inside.domains if content.inside else []:
        figure = _plane()
        for role, colour, symbol, places in (
            ("source", theme.SOURCE, "circle", one.source),
            ("target", theme.TARGET, "triangle-up", one.target),
        ):
            name = f"{role}: {plain(content.info.domains[role], 24)}"
            _add_points(figure, places, name, colour, symbol, size=5, opacity=0.75)
        plots.append(Plot(figure, one.name, HEIGHT))
    return plots


def features_by_class(content: Content) -> list[Plot]:
    """Draw a plane for each network, coloured by class; unlabelled images are faint."""
    if (inside := content.inside) is None:
        return []
    labels = np.concatenate([inside.source_labels, inside.target_labels])
    plots = []
    for one in inside.domains:
        figure = _plane(showlegend=False)
        places = np.concatenate([one.source, one.target])
        for label in np.unique(labels):
            mine = places[labels == label]
            if label == NO_LABEL:
                faint = (theme.FAINT, "circle")
                _add_points(figure, mine, "unlabelled target", *faint, size=4, opacity=0.6)
            else:
                name, look = plain(content.info.class_names[label]), theme.class_look(label)
                _add_points(figure, mine, name, *look, size=6, opacity=0.85)
        plots.append(Plot(figure, one.name, HEIGHT))
    return plots


def _plane(**layout: object) -> go.Figure:
    """Make an empty figure without ticks: distances on the plane have no unit."""
    bare = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
    figure = go.Figure().update_xaxes(**bare).update_yaxes(**bare, scaleanchor="x")
    return figure.update_layout(hovermode="closest", legend_itemsizing="constant", **layout)


def _add_points(
    figure: go.Figure, places: Floats, name: str, color: str, symbol: str, **look: float
) -> None:
    x, y = places.round(2).T.tolist()
    marker = {"color": color, "symbol": symbol, **look}
    figure.add_scatter(x=x, y=y, mode="markers", name=name, marker=marker, hoverinfo="name")
