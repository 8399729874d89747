"""Results of status, leaderboard and gc: a search and its trials."""

from typing import Literal

from pydantic import Field

from dann_search.outputs.base import Output
from dann_search.outputs.shared import BestTrial, Confirmation, Recipe, Searched, State, StoppedBy

F1_SO_FAR = "best macro-F1 on target val so far, 0 to 1; null before the first epoch ends"


class RunningTrial(Output):
    """A trial that has not ended."""

    trial: int = Field(description="its number")
    epochs: int = Field(description="epochs done")
    f1_macro_val: float | None = Field(description=F1_SO_FAR)
    confirms: int | None = Field(
        description="the trial that it trains again with another seed; null for one of the search"
    )


class FailedTrial(Output):
    """A trial that was given up."""

    trial: int = Field(description="its number")
    error: str = Field(description="why")


class Status(Output):
    """One experiment as it stands. Exit code 130 if ``--watch`` was ended with Ctrl-C."""

    experiment: str = Field(description="folder or URL of the experiment")
    name: str = Field(description="of its folder")
    state: Literal["searching", "interrupted", "done", "unreadable"] = Field(
        description="interrupted: not all trials are over, and nobody works on them"
    )
    error: str | None = Field(description="why it is unreadable; all counts are then 0")
    searching: bool = Field(description="whether a driver is at work, on whatever machine")
    stopped_by: StoppedBy | None = Field(
        description="why it last ended; null while it continues, and after a crash"
    )
    objective: str = Field(description="what is maximized: f1_macro, or a validator's name")
    total: int = Field(description="trials it is to have")
    completed: int = Field(description="trials trained to their end")
    pruned: int = Field(description="trials stopped early")
    failed: int = Field(description="trials given up with an error")
    running: int = Field(description="trials that have not ended")
    epochs: int = Field(description="of a whole trial")
    running_trials: list[RunningTrial] = Field(
        description="those that have not ended, by number; with those that confirm a finalist"
    )
    failures: list[FailedTrial] = Field(description="in the order of their end")
    last_report_s: float | None = Field(
        description="seconds since a trial last reported anything; null if none did"
    )
    best: BestTrial | None = Field(description="null where no trial is over yet")
    confirmation: Confirmation | None = Field(
        description="of the present finalists; null where none are to be confirmed"
    )
    trouble: str | None = Field(
        description="what the search waits for, such as a full disk or storage that does not "
        "answer; null where it waits for nothing",
    )

    @property
    def finished(self) -> int:
        """Trials of the search that are over."""
        return self.completed + self.pruned + self.failed


class AllExperiments(Output):
    """Every experiment of the default storage. Exit code 130 as for one."""

    experiments: list[Status] = Field(description="by name; empty where there is none")


class Confirmed(Output):
    """Scores of the trainings that confirmed a trial with new seeds."""

    mean: float | None = Field(description="null where it was not confirmed")
    sd: float | None = Field(description="standard deviation; null for fewer than two")
    values: list[float] = Field(description="one a training; empty where it was not confirmed")


class LeaderboardTrial(Output):
    """One trial. Scores are those of its best epoch."""

    trial: int = Field(description="its number")
    state: State = Field(description="running: not ended, whether anybody works on it or not")
    f1_macro_val: float | None = Field(
        description="macro-F1 on the target's validation split, 0 to 1; null before an epoch ended"
    )
    score: float | None = Field(description="value of the objective; null before an epoch ended")
    validators: dict[str, float] = Field(
        description="label-free scores by name, higher is better, -1e9 for what is no number; "
        "empty before an epoch ended"
    )
    epochs: int = Field(description="epochs done")
    best_epoch: int | None = Field(
        description="the epoch of highest score, from 1; null before an epoch ended"
    )
    config: Recipe
    searched: Searched = Field(
        description="the part of it that was searched and applies, by parameter"
    )
    error: str | None = Field(description="why it failed; null where it did not")
    origin: str | None = Field(
        description="where its values are from: a published recipe's name, start point 1, grid; "
        "null for the sampler's"
    )
    confirms: int | None = Field(
        description="the trial that it trains again with another seed; null for one of the search"
    )
    confirmed: Confirmed = Field(description="with new seeds")


class Leaderboard(Output):
    """Every trial, best first: docs/search.md explains the order."""

    objective: str = Field(description="what was maximized: f1_macro, or a validator's name")
    confirmation: Confirmation | None = Field(
        description="of the present finalists; null where none are to be confirmed"
    )
    trials: list[LeaderboardTrial] = Field(
        description="completed, then stopped early, unfinished and failed ones; those that confirm "
        "a finalist last"
    )


class CleanedUp(Output):
    """What was deleted, or would be."""

    experiment: str = Field(description="folder or URL of the experiment")
    files: int = Field(description="number of files")
    bytes: int = Field(description="their size")
    kept: list[int] = Field(description="trials whose models stay, best first")
    dry_run: bool = Field(description="whether nothing was deleted yet")
