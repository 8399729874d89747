"""A cluster file broken on purpose: what is changed, and what must be said about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
AWS = ROOT / "cluster.yaml"
GCP = ROOT / "docs" / "cluster" / "gcp.yaml"
ON_PREMISE = ROOT / "docs" / "cluster" / "on_premise.yaml"


@dataclass(frozen=True)
class Broken:
    """One change to a shipped file.

    Attributes:
        why: names the case.
        old: text of the file that is replaced where it stands first.
        new: what stands there instead.
        key: where the one finding must be.
        message: the words of it that matter, all of them.
        at: text that ends on the line that it must name; by default ``new``'s first line.
        severity: error or warning.
        file: the shipped file.
        space: changes of the small experiment that it is to carry; None for no experiment.
        more: further changes, likewise.
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
    more: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """The broken file."""
        text = self.file.read_text(encoding="utf-8")
        for old, new in ((self.old, self.new), *self.more):
            assert old in text, old
            text = text.replace(old, new, 1)
        return text

    def line(self) -> int:
        """The line that the finding must name."""
        return line_of(self.at or self.new.strip().splitlines()[0], self.text())


def line_of(part: str, text: str) -> int:
    """The line on which a part of a text ends."""
    return text[: text.index(part) + len(part)].count("\n") + 1


TYPES = "available_node_types"
NOWHERE = "#"
"""What is missing at the top level has no line."""
WORKER_START = "worker_start_ray_commands:\n  - ray stop\n  - >-"
START = "head_start_ray_commands:\n  - ray stop\n  - >-"
