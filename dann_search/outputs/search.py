"""Results of launch, resume, attach and stop, and of what shows a search in a browser.

``tensorboard``, ``dashboard`` and ``watch --serve`` print theirs once, then serve until Ctrl-C.
"""

from typing import Literal

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.shared import BestTrial, Confirmation, StoppedBy, TrialCounts


class SearchEnded(Output):
    """A search that ended. Exit code 0, or 130 if ``stopped_by`` is ``interrupt``.

    If every trial failed, the command fails instead.
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
    """A search that was submitted to a cluster as a job."""

    experiment: str = Field(description="folder or URL where it will be")
    job: str = Field(description="Ray's name of the job")
    address: str = Field(description="of the cluster's job server")


class JobEnded(Output):
    """A job that ended well, and whose results this machine does not see."""

    experiment: str = Field(description="folder of the experiment, on the cluster")
    job: str = Field(description="Ray's name of the job")
    address: str = Field(description="of the cluster's job server")
    state: Literal["SUCCEEDED"] = Field(description="always this: else the command fails")


class Stopped(Output):
    """A search that was stopped; everything trained so far is kept."""

    experiment: str = Field(description="folder or URL of the experiment")
    stopped: Literal[True] = Field(description="always true: else the command fails")


class TensorBoard(Output):
    """Where TensorBoard will answer in some seconds. Ctrl-C ends it: exit code 130.

    If it fails after this object, standard error says so, and the exit code is 1.
    """

    logdir: str = Field(description="folder it shows")
    url: str = Field(description="where, on the loopback")


class LivePage(Output):
    """Where the live page of ``watch --serve`` answers. Ctrl-C ends it: exit code 130."""

    experiment: str = Field(description="folder or URL of the experiment it shows")
    url: str = Field(description="where, on the loopback")


class Dashboard(Output):
    """Where optuna-dashboard answers. Ctrl-C ends it: exit code 130."""

    study: str = Field(description="path or address of the study it shows")
    url: str = Field(description="where, on the loopback")
