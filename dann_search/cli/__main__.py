"""``python -m dann_search.cli``."""

from dann_search.cli.main import entry_point

entry_point()
