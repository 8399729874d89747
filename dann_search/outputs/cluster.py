"""What ``doctor`` and ``validate-cluster`` print."""

from typing import Literal

from pydantic import Field

from dann_search.outputs.base import Output


class Check(Output):
    """One check of one node."""

    name: str = Field(description="what was checked")
    node: str = Field(description="host name and the start of Ray's id of the node, or an address")
    ok: bool = Field(description="whether the check passed")
    found: str = Field(description="what was found, for people")
    remedy: str | None = Field(description="what to do about it; null if the check passed")


class Doctor(Output):
    """The checks of a machine or a cluster. Exit code 0 if all passed, else 1."""

    ok: bool = Field(description="whether all checks passed")
    checks: list[Check] = Field(description="in the order in which they were made")
    not_checked: list[str] = Field(description="what was not checked, and why, in sentences")


class Finding(Output):
    """One fault of a cluster's file."""

    severity: Literal["error", "warning"] = Field(
        description="error: it will not work, or lets strangers in; warning: it costs money or time"
    )
    file: str = Field(description="the cluster's file, or the search space's")
    line: int | None = Field(
        description="line of the key, from 1; null if the file does not have it"
    )
    key: str = Field(description="path of the key, joined by dots; empty for the file as a whole")
    message: str = Field(description="what is wrong and what is expected, for people")


class ClusterFile(Output):
    """The faults of a cluster's file. Exit code 0 if it is valid, else 2."""

    valid: bool = Field(description="whether there are no errors; there may be warnings")
    findings: list[Finding] = Field(description="errors first, then in the order of the file")
