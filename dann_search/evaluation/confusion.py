"""The confusion matrix: draw it, and list the most frequent mistakes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dann_search.evaluation.picture import picture_style
from dann_search.inference.markup import one_line

LONGEST_NAME = 24
"""Characters of a class name: longer names would leave no room for the matrix."""
CLASS_SIDE, LARGEST_SIDE, DPI = 0.5, 14.0, 150
"""Inches per class, inches of the whole picture at most, dots per inch."""
MOST_NUMBERED = 40
"""With more classes, cells have no counts and not every class is named."""


@dataclass(frozen=True)
class Mistake:
    """Images of one class predicted as another: their number, and their share of the class."""

    true: str
    predicted: str
    n: int
    share: float


def frequent_mistakes(
    confusion: list[list[int]], names: list[str], most: int = 10
) -> list[Mistake]:
    """Return the pairs of classes confused most often, most images first."""
    counts = np.array(confusion)
    images = counts.sum(1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [
        Mistake(names[true], names[other], n, n / int(images[true]))
        for true, other in pairs
        if (n := int(counts[true, other]))
    ]


def write_confusion(path: Path, confusion: list[list[int]], names: list[str]) -> str:
    """Draw the confusion matrix, coloured by share of the true class.

    The picture has at most 2,100 x 2,100 pixels. With many classes only every n-th is named.

    Returns:
        A remark on letters that no installed font has, or an empty string.
    """
    # Not pyplot: switching its backend would break a caller's notebook.
    from matplotlib.figure import Figure

    names = [one_line(name) for name in names]
    names = [n if len(n) <= LONGEST_NAME else f"{n[: LONGEST_NAME - 1]}…" for n in names]
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(LARGEST_SIDE, max(4.0, CLASS_SIDE * len(names) + 1.5))
    step = math.ceil(len(names) / MOST_NUMBERED)
    places, named = range(0, len(names), step), names[::step]
    of_many = f" (of {len(names)}, one in {step} is named)" if step > 1 else ""
    with picture_style(names) as remark:
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        # Nearest keeps every class visible; colouring after scaling takes half the memory.
        scaling: Any = {"interpolation": "nearest", "interpolation_stage": "data"}
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, **scaling)
        axes.set_xticks(places, named, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(places, named)
        axes.set_xlabel(f"predicted class{of_many}")
        axes.set_ylabel(f"true class{of_many}")
        for row, column in np.argwhere(counts) if step == 1 else ():
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        figure.savefig(path, dpi=DPI)
    return remark
