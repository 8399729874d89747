"""Parts of several results."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field

from dann_search.config.parameter import Scalar
from dann_search.config.trial import TrialConfig
from dann_search.outputs.base import Output

State = Literal["completed", "pruned", "failed", "running"]
"""State of a trial. ``running``: it has not ended, whether a worker trains it or not."""

StoppedBy = Literal[
    "trials", "time", "cpu_hours", "gpu_hours", "no_improvement", "target", "interrupt"
]
"""Why a search ended: all trials were run, the budget was spent, or the user stopped it."""

Interval = Annotated[
    tuple[float, float],
    Field(title="Interval", description="low and high end of a 95 % confidence interval"),
]

Recipe = Annotated[TrialConfig, Field(description="the whole recipe")]

Searched = dict[str, Scalar]
"""Values of the searched parameters that apply to a trial, by name."""


class BestTrial(Output):
    """The best trial of a search: the first of the leaderboard."""

    trial: int = Field(description="its number")
    config: Recipe
    searched: Searched = Field(
        description="the part of it that was searched and applies, by parameter"
    )
    f1_macro_val: float | None = Field(
        description="macro-F1 on the target's validation split at its best epoch, 0 to 1; null "
        "where the target has no labels"
    )
    score: float = Field(
        description="value of the objective there; f1_macro_val where that is the objective"
    )
    confirmed_mean: float | None = Field(
        description="mean score over the trainings that confirmed it with new seeds; null where it "
        "was not confirmed; it decides only where the confirmation is whole"
    )


class Confirmation(Output):
    """Progress of training the finalists with new seeds; once all are done, their means rank."""

    done: int = Field(description="trainings that are over; failed ones are not tried again")
    of: int = Field(description="all of them")

    @property
    def is_whole(self) -> bool:
        """Whether every finalist has all its seeds: only then are the means comparable."""
        return self.done == self.of

    def __str__(self) -> str:
        return f"confirmation incomplete: {self.done} of {self.of} trainings"


class TrialCounts(Output):
    """Trials of a search that are over, without those that confirm a finalist."""

    completed: int = Field(description="trained to their end")
    pruned: int = Field(description="stopped early")
    failed: int = Field(description="given up with an error")

    @property
    def finished(self) -> int:
        """All of them."""
        return self.completed + self.pruned + self.failed


class Metrics(Output):
    """Classification metrics over all classes of a model, 0 to 1; averages are unweighted."""

    accuracy: float = Field(description="share of images classified right")
    precision_macro: float = Field(description="mean precision; 0 for a class never predicted")
    recall_macro: float = Field(description="mean recall; 0 for a class without images")
    f1_macro: float = Field(description="mean F1; 0 for a class neither there nor predicted")


class MetricIntervals(Output):
    """Of each metric, for test sets with as many images of each class; within 0 and 1."""

    accuracy: Interval
    precision_macro: Interval
    recall_macro: Interval
    f1_macro: Interval

    def __getitem__(self, metric: str) -> tuple[float, float]:
        """Return the interval of a metric by its name."""
        ends: tuple[float, float] = getattr(self, metric)
        return ends


class PresentClasses(Output):
    """Macro averages over the classes that have images, 0 to 1, with their 95 % intervals."""

    classes: int = Field(description="number of classes with images")
    precision_macro: float = Field(description="mean precision")
    recall_macro: float = Field(description="mean recall")
    f1_macro: float = Field(description="mean F1")
    ci95: dict[str, Interval] = Field(description="by metric")

    @classmethod
    def of(
        cls,
        metrics: Mapping[str, float],
        ends: Mapping[str, tuple[float, float]],
        images: Sequence[int],
    ) -> Self:
        """Take the classes without images out of averages over all, in which they count as 0.

        ``metrics`` and their intervals ``ends`` are by name, ``images`` by class.

        Raises:
            ZeroDivisionError: no class has images.
        """
        count = sum(n > 0 for n in images)

        def scaled(value: float) -> float:
            return min(1.0, value * len(images) / count)

        names = ("precision_macro", "recall_macro", "f1_macro")
        intervals = {name: (scaled(ends[name][0]), scaled(ends[name][1])) for name in names}
        return cls(classes=count, ci95=intervals, **{name: scaled(metrics[name]) for name in names})


class ClassRow(Output):
    """One class."""

    name: str = Field(alias="class", description="its name")
    precision: float = Field(description="0 to 1; 0 where it is never predicted")
    recall: float = Field(description="0 to 1; 0 where it has no images")
    f1: float = Field(description="0 to 1")
    n: int = Field(description="its images")
