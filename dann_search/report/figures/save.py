"""Every figure of a report as PNG and SVG."""

from collections.abc import Iterator
from pathlib import Path

from dann_search.report.content import Content
from dann_search.report.figures import (
    baselines,
    classes,
    features,
    parameters,
    training,
    trials,
)
from dann_search.report.figures.plot import Paper, paper_style

DPI = 300
NAMES = (
    "baselines",
    "history",
    "epochs",
    "parallel_coordinates",
    "importance",
    "slices",
    "learning_curves",
    "confusion",
    "reliability",
    "features_by_domain",
    "features_by_class",
)
"""Of all figures there can be."""
KINDS = ("png", "svg")


def papers(content: Content) -> Iterator[Paper]:
    """Those that this experiment has something for."""
    for family in (baselines, trials, parameters, training, classes, features):
        yield from family.papers(content)


def save_figures(content: Content, folder: Path) -> tuple[list[Path], str]:
    """Draw and write every figure.

    Returns:
        The files written, and a remark on letters that no installed font has, if there are any.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with paper_style([*content.info.class_names, *content.info.domains.values()]) as remark:
        for one in papers(content):
            figure = one.draw()
            for kind in KINDS:
                path = folder / f"{one.name}.{kind}"
                # No date: the same content gives the same file.
                metadata = {"Date": None} if kind == "svg" else None
                figure.savefig(path, dpi=DPI, metadata=metadata)
                written.append(path)
    return written, remark
