"""The two ways a command can fail, and the nearest valid name for a wrong one."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Bad input: one message with the rule, the value found and the next action. Exit code 2."""


class RunError(Exception):
    """A failure at run time. What was trained stays on storage. Exit code 1."""


def nearest(name: object, valid: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the valid name closest to ``name``, else all valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"valid: {', '.join(names)}"
