"""Results of tensorboard, dashboard and watch, printed once before they serve until Ctrl-C."""

from pydantic import Field

from dann_search.outputs.base import Output


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
