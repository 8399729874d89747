"""What report prints: the key numbers of the page it wrote."""

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

    split: Literal["test", "val"] = Field(description="val where test was not evaluated yet")
    value: float = Field(description="0 to 1; 15 bins")


class Shift(Output):
    """How far source and target lie apart in a network's features."""

    network: str = Field(description="which, in words")
    a_distance: float | None = Field(
        description="proxy A-distance, 0 to 2; null for fewer than two images a domain"
    )
    mmd2: float | None = Field(
        description="squared maximum mean discrepancy, unbiased, so perhaps below 0; null as "
        "a_distance, and where all features are the same"
    )


class AllTrialCounts(TrialCounts):
    """Trials of a search by state; those that confirm a finalist are not counted."""

    running: int = Field(description="not ended")


class Spent(Output):
    """What the search cost. Hours are null where it did not count them."""

    hours: float | None = Field(description="of the clock")
    cpu_hours: float | None = Field(description="hours times the CPUs that trials reserved")
    gpu_hours: float | None = Field(description="hours times the GPUs that trials reserved")
    epochs: int = Field(description="trained by all trials")
    epochs_saved: int = Field(description="that trials stopped early were spared")
    cpu_hours_saved: float | None = Field(
        description="estimated: those epochs at the seconds an epoch took in each such trial"
    )
    gpu_hours_saved: float | None = Field(description="the same of GPUs")


class Report(Output):
    """A report that was written."""

    report: str = Field(description="path of the page")
    bytes: int = Field(description="its size")
    figures: list[str] = Field(description="paths of the PNG and SVG files; empty without any")
    experiment: str = Field(description="folder or URL of the experiment")
    partial: bool = Field(description="whether the search is not over yet")
    notes: list[str] = Field(description="what is missing or not final, in sentences")
    trial: int = Field(description="number of the best trial")
    epoch: int = Field(description="its best epoch, from 1")
    f1_macro_val: float = Field(description="of that epoch, on target val, 0 to 1")
    ci95_val: Interval | None = Field(description="null where the model cannot be run here")
    test: OnTest | None = Field(description="null where it was not evaluated yet")
    baselines: dict[str, MeanAndSd] | None = Field(
        description="by method; null where they were not compared yet"
    )
    ece: CalibrationOn | None = Field(description="null where the model cannot be run here")
    domain_shift: list[Shift] = Field(
        description="by network, in the order of training; empty where the model cannot be run here"
    )
    trials: AllTrialCounts = Field(description="of the search, by state")
    spent: Spent = Field(description="what the search cost")
