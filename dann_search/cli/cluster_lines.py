"""The lines that ``validate-cluster`` and ``doctor`` print for people."""

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from dann_search.outputs.cluster import Doctor, Finding


def lines_of_findings(file: Path, findings: list[Finding]) -> Iterator[Text]:
    """Yield a line for each finding, and the totals."""
    colours = {"error": "red", "warning": "yellow"}
    for one in findings:
        place = one.file if one.line is None else f"{one.file}:{one.line}"
        parts = [one.severity, place, *([one.key] if one.key else []), one.message]
        yield Text(": ".join(parts), style=colours[one.severity])
    errors = sum(one.severity == "error" for one in findings)
    counts = {"error": errors, "warning": len(findings) - errors}
    totals = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items())
    yield Text(f"{file}: {totals}")


def lines_of_checks(report: Doctor) -> Iterator[Text]:
    """Yield a line for each check, and for each that was not made."""
    for check in report.checks:
        mark, style = ("ok ", "green") if check.ok else ("RED", "bold red")
        cause = check.found if check.ok else f"{check.found}. Remedy: {check.remedy}"
        yield Text.assemble((mark, style), f" {check.name}: {check.node}: {cause}")
    for left_out in report.not_checked:
        yield Text(f"not checked: {left_out}", style="dim")
