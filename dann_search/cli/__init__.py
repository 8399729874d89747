"""The command line: parse, call, print. Only this room imports typer and rich.

Start with ``main.py``, from arguments to an exit code; each family of commands has a file, and all
tables are in ``tables.py``.
"""

from dann_search.cli.main import entry_point, main

__all__ = ["entry_point", "main"]
