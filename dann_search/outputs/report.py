"""What report prints and returns: the key numbers of the page it wrote."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.shared import Interval, MetricIntervals, Metrics, TrialCounts


class OnTest(Metrics):
    """Metrics on the target's test split."""

    n: int = Field(description="images")
    ci95: MetricIntervals = Field(description="95 % intervals of the four metrics")


class MeanAndSd(Output):
    """Macro-F1 on the target's test split, over the seeds of a comparison."""

    mean: float = Field(description="0 to 1")
    sd: float = Field(description="standard deviation")


class CalibrationOn(Output):
    """Expected calibration error."""

    split: Literal["test", "val"] = Field(description="val if test was not evaluated yet")
    value: float = Field(description="0 to 1; 15 bins")


class Shift(Output):
    """The distance of source and target in a network's features."""

    network: str = Field(description="name of the network")
    a_distance: float | None = Field(
        description="proxy A-distance, 0 to 2; null for fewer than two images per domain"
    )
    mmd2: float | None = Field(
        description="squared maximum mean discrepancy, unbiased, so it may be below 0; null for "
        "fewer than two images per domain, and if all features are the same"
    )


class AllTrialCounts(TrialCounts):
    """Trials of a search by state, without those that confirm a finalist."""

    running: int = Field(description="not ended yet")


class Spent(Output):
    """The cost of a search. Hours are null if it did not count them."""

    hours: float | None = Field(description="wall-clock time")
    cpu_hours: float | None = Field(description="hours times the CPUs that trials reserved")
    gpu_hours: float | None = Field(description="hours times the GPUs that trials reserved")
    epochs: int = Field(description="epochs trained by all trials")
    epochs_saved: int = Field(description="epochs that early stopping spared")
    cpu_hours_saved: float | None = Field(
        description="estimate: spared epochs times the seconds per epoch of their trial"
    )
    gpu_hours_saved: float | None = Field(description="the same for GPUs")


class Report(Output):
    """A report that was written."""

    report: str = Field(description="path of the page")
    bytes: int = Field(description="size of the page")
    figures: list[str] = Field(description="paths of the PNG and SVG files; empty without any")
    experiment: str = Field(description="folder or URL of the experiment")
    partial: bool = Field(description="whether the search is not over yet")
    notes: list[str] = Field(description="what is missing or not final, in sentences")
    trial: int = Field(description="number of the best trial")
    epoch: int = Field(description="its best epoch, from 1")
    f1_macro_val: float | None = Field(
        description="macro-F1 of that epoch on target val, 0 to 1; null where the target has no "
        "labels"
    )
    ci95_val: Interval | None = Field(
        description="interval of f1_macro_val; null where that is, or if the model cannot be run "
        "here"
    )
    test: OnTest | None = Field(description="null if it was not evaluated yet")
    baselines: dict[str, MeanAndSd] | None = Field(
        description="by method; null if they were not compared yet"
    )
    ece: CalibrationOn | None = Field(
        description="null if test was not evaluated and the model cannot be run here, or the "
        "target has no labels"
    )
    domain_shift: list[Shift] = Field(
        description="by network, in the order of training; empty if the model cannot be run here"
    )
    trials: AllTrialCounts = Field(description="trials of the search by state")
    spent: Spent = Field(description="the cost of the search")

    @property
    def file(self) -> Path:
        """Path of the page."""
        return Path(self.report)
