"""The command line: parse, call, print."""

from dann_search.cli.main import entry_point, main

__all__ = ["entry_point", "main"]
