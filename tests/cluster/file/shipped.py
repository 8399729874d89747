"""The cluster files that are shipped, and changes to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
AWS = ROOT / "cluster.yaml"
GCP = ROOT / "docs" / "cluster" / "gcp.yaml"
ON_PREMISE = ROOT / "docs" / "cluster" / "on_premise.yaml"
FILES = [AWS, GCP, ON_PREMISE]


@dataclass(frozen=True)
class Broken:
    """A shipped file with one change.

    Attributes:
        why: name of the case.
        old: text that is replaced where it occurs first.
        new: its replacement.
        key: key of the one finding.
        message: words of its message, all of which must occur.
        at: text that ends on its line; by default the first line of ``new``.
        severity: error or warning.
        file: the shipped file.
        space: changes of the small experiment that it is to carry; None for no experiment.
    """

    why: str
    old: str
    new: str
    key: str
    message: tuple[str, ...]
    at: str = ""
    severity: str = "error"
    file: Path = AWS
    space: dict[str, Any] | None = None

    def text(self) -> str:
        """Return the broken file."""
        text = self.file.read_text(encoding="utf-8")
        assert self.old in text, self.old
        return text.replace(self.old, self.new, 1)


NOWHERE = "#"
"""Stands for the line of what the file does not have at its top level."""


def line_of(part: str, text: str) -> int:
    """Return the line on which a part of a text ends."""
    return text[: text.index(part) + len(part)].count("\n") + 1
