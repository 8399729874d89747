"""The ways a command can fail, and how messages name things."""

import difflib
import importlib.util
import re
from collections.abc import Iterable

LONGEST = 300
"""Characters of another library's message."""


def printable(text: str) -> str:
    """Return text that can be written anywhere: bytes of a file's name that are no UTF-8 are not.

    Python keeps them as lone surrogates, so that the file can be opened.
    """
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def check_platform() -> None:
    """Check that this system has what locks between processes need.

    Raises:
        InputError: it has not, as Windows outside of WSL.
    """
    if importlib.util.find_spec("fcntl") is None:
        raise InputError(
            "dann-search runs on Linux and macOS, and on Windows in WSL (wsl --install, then "
            "install it in there); to use a trained model on Windows itself, export it elsewhere "
            "with: dann-search export NAME --format onnx"
        )


class InputError(Exception):
    """Bad input: one message with the rule, the value found and the next action. Exit code 2."""

    def __init__(self, message: str):
        super().__init__(printable(message))


class RunError(Exception):
    """A failure at run time. What was trained stays on storage. Exit code 1."""

    def __init__(self, message: str):
        super().__init__(printable(message))


class StorageError(RunError):
    """Storage cannot be reached: no trial's fault, and it may be back in a while."""


def in_one_line(exc: BaseException) -> str:
    """Return an error's kind and message for a notice: Matplotlib's have many lines."""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())[:LONGEST]}"


def nearest(name: object, valid: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the valid name closest to ``name``, else all valid names.

    Three letters of five in common are chance: ``bayes`` is no slip for ``cmaes``.
    """
    names = sorted(valid)
    by_small = {one.casefold(): one for one in names}
    written = str(name).casefold()
    longer = [small for small in by_small if written and small.startswith(written)]
    close = difflib.get_close_matches(written, by_small, n=1, cutoff=0.61)
    if len(longer) == 1:
        close = longer
    if close:
        return f"did you mean '{by_small[close[0]]}'?"
    return f"valid: {', '.join(names)}"


def some(names: Iterable[str], most: int = 5) -> str:
    """List the first names, with ``…`` where there are more of them."""
    shown = list(names)
    return ", ".join(shown[:most]) + (" …" if len(shown) > most else "")


def counted(count: int, one: str, many: str = "") -> str:
    """Return ``1 image`` or ``2 images``; ``many`` where the plural takes more than an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"
