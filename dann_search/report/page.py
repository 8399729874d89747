"""The report as one HTML file that needs nothing else."""

import base64
import gzip
import hashlib
import importlib.metadata
import json
import math
from functools import cache, partial
from importlib.resources import files
from itertools import chain
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from dann_search.report import theme
from dann_search.report.content import Content
from dann_search.report.context import context
from dann_search.report.figures.catalog import draw
from dann_search.report.figures.plot import Plot

HERE = "dann_search.report"


def render(content: Content, created: str, refresh: int | None = None) -> str:
    """Return the page.

    Everything a user wrote goes through Jinja's escaping, or into JSON in which no tag can begin.
    The page's own policy lets no script run but those written here.

    Args:
        content: what it shows.
        created: date and time, as people read them.
        refresh: seconds after which a browser asks for the page again; None for a file.
    """
    # Each plot gets a name of its own, never made of anything a user wrote.
    plots = {
        figure: [
            (f"{figure}-{n}" if len(found) > 1 else figure, one) for n, one in enumerate(found)
        ]
        for figure, found in draw(content).items()
    }
    script, boot, plotly = _file("page.js"), _file("boot.js"), get_plotlyjs()
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            **context(content),
            plots=plots,
            created=created,
            refresh=refresh,
            version=importlib.metadata.version("dann-search"),
            policy=" ".join(map(_hash, (boot, script, plotly))),
            colours=_colours(),
            style=_file("style.css"),
            boot=boot,
            script=script,
            plotly=_packed(plotly),
            data=_data(dict(chain.from_iterable(plots.values()))),
        )
    )


def _data(plots: dict[str, Plot]) -> str:
    """Return plots and themes as JSON in which neither a tag nor a comment can begin."""
    content = {
        "plots": {name: _json(plot) for name, plot in plots.items()},
        "templates": {mode: theme.plot_template(mode) for mode in theme.PAGE},
        "in_the_dark": theme.IN_THE_DARK,
    }
    text = json.dumps(content, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _json(plot: Plot) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(plot.figure.to_json())
    # Plotly's own template: the page brings its own.
    content["layout"].pop("template", None)
    return {**content, "height": plot.height}


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(HERE, "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "f2": partial(_decimals, places=2),
        "f3": partial(_decimals, places=3),
        "f4": partial(_decimals, places=4),
        "g3": lambda value: f"{value:.3g}",
        "signed": lambda value: f"{value:+.3f}".replace("-", "−"),
        "percent": lambda value: f"{value:.0%}".replace("%", "\u202f%"),
    }
    return environment


def _decimals(value: float, places: int) -> str:
    """Format a number; a dash stands for what could not be measured."""
    return "–" if math.isnan(value) else f"{value:.{places}f}"


def _colours() -> str:
    """Return the palette as variables of the style sheet, and the colours of classes."""
    classes = {str(number): colour for number, colour in enumerate(theme.CLASSES)}
    classes["f"] = theme.FAINT

    def variables(mode: str) -> str:
        dark = theme.IN_THE_DARK if mode == "dark" else {}
        colours = {f"c{name}": dark.get(colour, colour) for name, colour in classes.items()}
        colours = {**theme.PAGE[mode], **colours}
        return "".join(f"--{k}:{v};" for k, v in colours.items()) + f"color-scheme:{mode};"

    return (
        f":root{{--font:{theme.FONT};{variables('light')}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light])"
        f"{{{variables('dark')}}}}}"
        f":root[data-theme=dark]{{{variables('dark')}}}"
        + "".join(f".c{name}{{color:var(--c{name})}}" for name in classes)
    )


def _file(name: str) -> str:
    return files(HERE).joinpath("page", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return a script's name in a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def _packed(script: str) -> str:
    """Compress a script and encode it as text: 4.8 MB of Plotly become 2.0."""
    return base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()
