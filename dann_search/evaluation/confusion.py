"""The confusion matrix: draw it, and list the most frequent mistakes."""

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dann_search.inference.markup import one_line

LONGEST_NAME = 24
"""Characters of a class name: longer names would leave no room for the matrix."""
CLASS_SIDE, LARGEST_SIDE, DPI = 0.5, 14.0, 150
"""Inches per class, inches of the whole picture at most, dots per inch."""
MOST_NUMBERED = 40
"""With more classes, cells have no counts and not every class is named."""
SHOWN_LETTERS = 10
"""Letters without a font that a remark names."""


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


@contextmanager
def picture_style(texts: Iterable[str] = ()) -> Iterator[str]:
    """Draw and save pictures inside this context to show text literally.

    Args:
        texts: text from users, such as class names. Letters that Matplotlib's default font lacks,
            Chinese ones for instance, are looked up in the installed fonts.

    Yields:
        A remark on letters that no installed font has, or an empty string.
    """
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        families, lacking = _fallbacks(set("".join(texts)))
        matplotlib.rcParams.update(
            {
                # A class may be called "$5", which is not a formula.
                "text.parse_math": False,
                "text.usetex": False,
                "font.family": [*matplotlib.rcParams["font.family"], *families],
            }
        )
        # The remark says it once; Matplotlib would for every letter.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield _remark(lacking)


def _fallbacks(letters: set[str]) -> tuple[list[str], set[str]]:
    """Return font families for letters that the current font lacks, and letters that none has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    wanted = {letter for letter in letters if letter.isprintable() and not letter.isspace()}
    lacking, families = wanted - _letters_of(findfont(FontProperties())), []
    for font in fontManager.ttflist if lacking else ():
        # Fonts of last resort have a box for every letter.
        if font.style != "normal" or font.weight != 400 or "LastResort" in font.fname:
            continue
        if found := lacking & _letters_of(font.fname):
            families.append(font.name)
            lacking -= found
    return families, lacking


def _letters_of(path: str) -> set[str]:
    """Return the letters of a font file, or none if Matplotlib cannot draw with it."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
        return {chr(code) for code in font.get_charmap()} if font.scalable else set()
    except (OSError, RuntimeError):  # a bitmap font, such as coloured emoji
        return set()


def _remark(lacking: set[str]) -> str:
    if not lacking:
        return ""
    shown = "".join(sorted(lacking)[:SHOWN_LETTERS]) + "…" * (len(lacking) > SHOWN_LETTERS)
    return (
        f"no font installed here has the letters {shown}: the picture shows boxes in their place; "
        "install one that has, such as Noto Sans CJK for Chinese, Japanese and Korean"
    )
