"""The base of what commands print with ``--json``, and the object they print where they fail."""

from pydantic import BaseModel, ConfigDict, Field


class Output(BaseModel):
    """Has the fields named, all of them, and no others.

    A field without a value is null, a list or a mapping without entries is empty; no field is ever
    left out. Numbers are finite.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True
    )


class Failure(Output):
    """Printed by every command instead of its own object where it cannot do what it was asked.

    Exit code 2: bad input, nothing was started. 1: it failed at run time. 130: it was interrupted
    (143 by SIGTERM, 129 by SIGHUP).
    """

    error: str = Field(
        description="what is wrong, where, and what to do about it; for people, so it may change"
    )
