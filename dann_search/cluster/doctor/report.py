"""What was checked, node by node, and what it says."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One line: what was found, and the remedy where it is not well."""

    name: str
    node: str
    ok: bool
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``doctor --json`` lists it."""
        remedy = self.remedy if not self.ok else None
        return {
            "name": self.name,
            "node": self.node,
            "ok": self.ok,
            "found": self.found,
            "remedy": remedy,
        }


def verdict(name: str, node: str, found: str, wrong: str = "", remedy: str = "") -> Check:
    """Green with what was found, or red with what is wrong and the remedy."""
    return Check(name, node, not wrong, wrong or found, remedy)


@dataclass
class Report:
    """All checks, and what could not be checked for want of an option."""

    checks: list[Check] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check is green."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """As ``doctor --json`` prints it."""
        return {
            "ok": self.ok,
            "checks": [check.to_json() for check in self.checks],
            "not_checked": self.not_checked,
        }
