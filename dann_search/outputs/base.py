"""The base class of all results, and the object that a command prints when it fails."""

import html
import textwrap

from pydantic import BaseModel, ConfigDict, Field

CELL = 200
"""Characters of a value in a notebook, after which it is cut: all classes of a model are many."""


class Output(BaseModel):
    """A result with exactly the fields named.

    No field is ever left out: a missing value is null, a list or mapping without entries is empty.
    Numbers are finite.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        # A field such as "class" has another name in Python: build it by that, print its alias.
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def _repr_html_(self) -> str:
        """Show the fields as a table in a notebook."""
        rows = ((name, _shown(value)) for name, value in self)
        cells = "".join(
            f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows
        )
        return f"<table><caption>{type(self).__name__}</caption>{cells}</table>"


def _shown(value: object) -> str:
    """Return a value as a cell shows it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return textwrap.shorten("–" if value is None else str(value), CELL, placeholder=" …")


class Failure(Output):
    """Printed by every command instead of its own object when it fails.

    Exit code 2: bad input, nothing was started. 1: failed at run time. 130: interrupted (143 by
    SIGTERM, 129 by SIGHUP).
    """

    error: str = Field(
        description="what is wrong, where, and what to do about it; for people, so it may change"
    )
