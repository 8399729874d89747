"""The command line: parse, call, print. Only this room imports typer and rich.

Start with ``main.py``, from arguments to an exit code; each family of commands has a file. Tables
are in ``tables.py`` and the other ``…_tables.py``.
"""

import sys

from dann_search.errors import InputError, check_platform

try:
    check_platform()
except InputError as exc:
    # Before main.py, which ends commands with their error: it imports what is missing.
    print(f"error: {exc}", file=sys.stderr)
    sys.exit(2)

from dann_search.cli.main import entry_point, main

__all__ = ["entry_point", "main"]
