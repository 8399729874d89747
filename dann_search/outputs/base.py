"""The base class of all results, and the object that a command prints when it fails."""

from pydantic import BaseModel, ConfigDict, Field


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


class Failure(Output):
    """Printed by every command instead of its own object when it fails.

    Exit code 2: bad input, nothing was started. 1: failed at run time. 130: interrupted (143 by
    SIGTERM, 129 by SIGHUP).
    """

    error: str = Field(
        description="what is wrong, where, and what to do about it; for people, so it may change"
    )
