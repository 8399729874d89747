"""From the arguments of a command line to an exit code."""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from dann_search import __version__
from dann_search.cli.app import Interrupted, answer, app, err
from dann_search.errors import InputError, RunError
from dann_search.search.fatal_exit import said_by
from dann_search.search.interrupts import INTERRUPTED, Received, command_signals

# Importing a module registers its commands; the help lists them in this order.
# isort: off
from dann_search.cli import search, spaces, results, models, viewers, cluster  # noqa: F401
# isort: on

MAKE_ROOM = (
    "make room there (df -h shows the disks, quota -s a quota) and run the command again: what was "
    "trained is kept, and a search continues with dann-search resume"
)


def _version(show: bool) -> None:
    if show:
        print(f"dann-search {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    0: done. 1: failed. 2: bad input. 130: interrupted by Ctrl-C or ``stop``; 143: by SIGTERM; 129:
    by SIGHUP.
    """
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    # Accepted anywhere on the line: people append it to the command that failed.
    words = [word for word in words if word != "--debug"] or ["--help"]
    answer.given = False
    run = partial(app, words, standalone_mode=False, prog_name="dann-search")
    as_json = "--json" in words
    with said_by(lambda message: _fail(message, 1, as_json)), command_signals() as received:
        try:
            code = _guard(run, debug, as_json, received)
        except KeyboardInterrupt:  # the first signal arrived while an error was being printed
            code = INTERRUPTED
    if received.number is None:
        return code
    _drop_unwritable()
    # A command that ended in good order after a signal was interrupted nonetheless.
    return received.exit_code if code in (0, INTERRUPTED) else code


def _guard(run: Callable[[], Any], debug: bool, as_json: bool, received: Received) -> int:
    try:
        code = run()
        return code if isinstance(code, int) else 0
    except typer.Exit as exc:
        return exc.exit_code
    except TyperException as exc:
        return _fail(exc.format_message(), 2, as_json)
    except InputError as exc:
        return _fail(str(exc), 2, as_json, debug)
    except RunError as exc:
        return _fail(str(exc), 1, as_json, debug)
    except (Interrupted, KeyboardInterrupt, typer.Abort) as exc:
        return _fail(str(exc) or "interrupted", INTERRUPTED, as_json)
    except Exception as exc:
        if received.number is not None and isinstance(exc, OSError) and exc.errno == errno.EIO:
            return _fail("interrupted", INTERRUPTED, as_json)  # its terminal was closed
        if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f"{exc.filename}: " if exc.filename else ""
            return _fail(f"{where}{exc.strerror}; {MAKE_ROOM}", 1, as_json, debug)
        text = f"{type(exc).__name__}: {exc}"
        return _fail(f"{text} (run again with --debug for the traceback)", 1, as_json, debug)


def _fail(message: str, code: int, as_json: bool, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    with contextlib.suppress(OSError):  # a closed terminal must not cost the JSON or the code
        err.print(f"error: {message}", markup=False, soft_wrap=True)
    if as_json:
        answer.give({"error": message})
    return code


def _drop_unwritable() -> None:
    """Drop output that a closed terminal refuses; Python would exit with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def entry_point() -> None:
    """Run the console script."""
    sys.exit(main())
