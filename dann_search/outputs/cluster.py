"""What doctor and validate-cluster print: of machines, and of a cluster's file."""

from typing import Literal

from pydantic import Field

from dann_search.outputs.base import Output


class Check(Output):
    """One thing that was looked at, on one node."""

    name: str = Field(description="what was looked at")
    node: str = Field(description="host name and the start of Ray's id; or between which nodes")
    ok: bool = Field(description="whether it is well")
    found: str = Field(description="what was found, for people")
    remedy: str | None = Field(description="what to do about it; null where it is well")


class Doctor(Output):
    """A machine or a cluster that was looked at. Exit code 0 where all is well, else 1."""

    ok: bool = Field(description="whether every check is well")
    checks: list[Check] = Field(description="node by node")
    not_checked: list[str] = Field(description="what an option is missing for, in sentences")


class Finding(Output):
    """Something about a cluster's file."""

    severity: Literal["error", "warning"] = Field(
        description="error: it will not work, or lets strangers in; warning: it costs"
    )
    file: str = Field(description="the cluster's file, or the search space's")
    line: int | None = Field(description="in it, from 1; null where nothing is written of it")
    key: str = Field(description="with dots between its parts; empty for the file as a whole")
    message: str = Field(description="what is wrong and what would be right, for people")


class ClusterFile(Output):
    """A cluster's file that was looked at. Exit code 0 where it is valid, else 2."""

    valid: bool = Field(description="whether there is no error; there may be warnings")
    findings: list[Finding] = Field(description="errors first, each kind from the file's top")
