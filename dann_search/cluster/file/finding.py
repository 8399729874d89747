"""What is wrong with a cluster file, each finding with its place in the file."""

from dataclasses import dataclass, field
from typing import Any

from dann_search.config.messages import shown
from dann_search.config.source import KeyPath, Place, SourceFile
from dann_search.errors import nearest


def count(number: int, thing: str) -> str:
    """``1 GPU``, ``2 GPUs``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (an error) or unwise (a warning)."""

    severity: str
    place: str
    message: str
    file: str
    line: int | None
    key: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.place}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        """As ``validate-cluster --json`` lists it."""
        return {
            "severity": self.severity,
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "message": self.message,
        }


@dataclass
class Notes:
    """Collects findings about one file, or two: the cluster's and the search space's."""

    source: SourceFile
    found: list[Finding] = field(default_factory=list)

    def error(self, path: KeyPath, message: str, source: SourceFile | None = None) -> None:
        """Something that will not work, or that lets strangers in."""
        self._add("error", path, message, source)

    def warning(self, path: KeyPath, message: str, source: SourceFile | None = None) -> None:
        """Something that costs money or time without need."""
        self._add("warning", path, message, source)

    def unknown(self, path: KeyPath, valid: list[str]) -> None:
        """A key that nobody reads."""
        self.error(path, f"unknown key {shown(path[-1])}; {nearest(path[-1], valid)}")

    def wrong_in(self, section: str) -> bool:
        """Whether a key of a section is wrong already: a missing one may be that, misspelt."""
        return any(f.severity == "error" and f.key.startswith(f"{section}.") for f in self.found)

    def _add(self, severity: str, path: KeyPath, message: str, source: SourceFile | None) -> None:
        source = source or self.source
        place = place_of(source, path)
        file, line = (place.file, place.line) if place else (source.name, None)
        key = ".".join(map(str, path))
        finding = Finding(severity, source.where(path), message, file, line, key)
        # The same command runs on several node types: once is enough.
        if finding not in self.found:
            self.found.append(finding)

    @property
    def in_order(self) -> list[Finding]:
        """Errors first, each kind from the top of the file to its end."""
        rank = {"error": 0, "warning": 1}
        return sorted(self.found, key=lambda f: (rank[f.severity], f.file, f.line or 0))


def place_of(source: SourceFile, path: KeyPath) -> Place | None:
    """The place of a key; its nearest parent's where the file has no such key."""
    for length in range(len(path), 0, -1):
        if path[:length] in source.lines:
            return source.lines[path[:length]]
    return None
