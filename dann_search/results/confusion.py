"""The confusion matrix as a picture."""

from pathlib import Path

import numpy as np

LONGEST_NAME = 24
"""Of a class, in characters: longer ones would leave no room for the matrix."""


def write_confusion(path: Path, confusion: list[list[int]], names: list[str]) -> None:
    """Draw the confusion matrix: counts written, colour by share of the true class."""
    # Not by pyplot, whose backend is the caller's: a notebook would lose its own.
    from matplotlib.figure import Figure

    names = [n if len(n) <= LONGEST_NAME else f"{n[: LONGEST_NAME - 1]}…" for n in names]
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.5 * len(names) + 1.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        if count:
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, dpi=150)
