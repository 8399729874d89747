"""One self-contained page about an experiment: what was found, how good it is, and why."""

from dann_search.report.write import Report, write_report

__all__ = ["Report", "write_report"]
