"""``python -m dann_search`` is ``dann-search``."""

from dann_search.cli import entry_point

if __name__ == "__main__":
    entry_point()
