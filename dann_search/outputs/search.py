"""What launch, resume, attach and stop print."""

from typing import Literal

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.shared import BestTrial, Confirmation, StoppedBy, TrialCounts


class SearchEnded(Output):
    """A search that ended. Exit code 0, or 130 where ``stopped_by`` is ``interrupt``.

    A search none of whose trials came to anything is a failure.
    """

    experiment: str = Field(description="folder or URL of the experiment")
    trials: TrialCounts = Field(description="of the whole study, earlier runs included")
    objective: str = Field(description="what was maximized: f1_macro, or a validator's name")
    best: BestTrial | None = Field(description="null where no trial is over yet")
    confirmation: Confirmation | None = Field(
        description="of the present finalists; null where none are to be confirmed"
    )
    elapsed_s: float = Field(description="of this run alone, in seconds")
    stopped_by: StoppedBy = Field(description="what ended this run")


class Submitted(Output):
    """A search that was handed to a cluster as a job, and goes on there."""

    experiment: str = Field(description="folder or URL where it will be")
    job: str = Field(description="Ray's name of the job")
    address: str = Field(description="of the cluster's job server")


class Stopped(Output):
    """A search that has ended as it was asked to; all that was trained is kept."""

    experiment: str = Field(description="folder or URL of the experiment")
    stopped: Literal[True] = Field(description="always true: else the command fails")
