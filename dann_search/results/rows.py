"""The trials of a search as rows, with the trainings that confirm finalists with new seeds."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dann_search.config.experiment import ConfirmConfig, ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.outputs.shared import Confirmation
from dann_search.study.study_names import BEST, CONFIG, CONFIRMS, ERROR, ORIGIN

STATES = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}
"""Our names of Optuna's states; any other state is unfinished: ``running``."""


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        number: its number in the study.
        state: completed, pruned, failed or running (unfinished).
        score: the objective's value at its best epoch; None before the first.
        f1_macro_val: macro-F1 on the target's validation split at that epoch.
        validators: label-free scores at that epoch, by name; empty if an older version searched.
        epochs: epochs done.
        best_epoch: the epoch of highest score, from 1; the earliest on ties.
        config: the whole recipe, as it was stored.
        params: the searched parameters that apply to it.
        error: why it failed.
        origin: where its values come from: a published recipe or a start point; None for the
            sampler.
        confirms: number of the trial that it trains again with another seed.
        confirmed: scores of the completed trials that confirm this one.
        is_confirmed: whether their mean decides its rank: all finalists have all their seeds.
        ended: Unix time of its end; None before.
    """

    number: int
    state: str
    score: float | None
    f1_macro_val: float | None
    validators: dict[str, float]
    epochs: int
    best_epoch: int | None
    config: dict[str, Any]
    params: dict[str, Any]
    error: str | None
    origin: str | None = None
    confirms: int | None = None
    confirmed: tuple[float, ...] = ()
    is_confirmed: bool = False
    ended: float | None = None

    @property
    def recipe(self) -> TrialConfig:
        """The whole recipe, not validated: another version may have written it."""
        return TrialConfig.model_construct(**self.config)

    @property
    def confirmed_mean(self) -> float | None:
        """Mean score over the new seeds trained so far; None if there is none."""
        return statistics.fmean(self.confirmed) if self.confirmed else None

    @property
    def confirmed_sd(self) -> float | None:
        """Standard deviation over the new seeds; None for fewer than two."""
        return statistics.stdev(self.confirmed) if len(self.confirmed) > 1 else None


def rows_of(experiment: ExperimentConfig, trials: Iterable[Any]) -> list[TrialRow]:
    """Convert Optuna's trials of an experiment, by number."""
    return with_confirmations(experiment, [_row(trial) for trial in trials])


def _row(trial: Any) -> TrialRow:
    scores = trial.intermediate_values
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch), default=None)
    score = None if best is None else scores[best]
    noted = trial.user_attrs.get(BEST, {})
    config = trial.user_attrs.get(CONFIG, {})
    # The study names the depth by backbone: unfrozen_depth.resnet18.
    searched = {name.split(".")[0]: value for name, value in trial.params.items()}
    return TrialRow(
        number=trial.number,
        state=STATES.get(trial.state.name, "running"),
        score=score,
        f1_macro_val=noted.get("f1_macro_val", score),
        validators=noted.get("validators", {}),
        epochs=len(scores),
        best_epoch=best,
        config=config,
        # The values trained with: the study's own may differ by a rounding error of the step.
        params={name: config.get(name, value) for name, value in searched.items()},
        error=trial.user_attrs.get(ERROR),
        origin=trial.user_attrs.get(ORIGIN),
        confirms=trial.user_attrs.get(CONFIRMS),
        ended=trial.datetime_complete and trial.datetime_complete.timestamp(),
    )


def confirmation_of(experiment: ExperimentConfig, rows: Sequence[TrialRow]) -> Confirmation | None:
    """Count the trainings of the present finalists with new seeds.

    None if the experiment confirms nothing or has no finalist yet. A training that failed counts
    as done: it is not tried again.
    """
    confirm = experiment.search.confirm
    if confirm is None:
        return None
    completed = [row for row in rows if row.state == "completed" and row.confirms is None]
    finalists = confirm.finalists(
        {row.number: row.score for row in completed if row.score is not None},
        {row.number: row.config or row.number for row in completed},
    )
    over = _seeds_over(confirm, experiment.fixed.seed, rows)
    done = sum(len(over.get(number, ())) for number in finalists)
    return Confirmation(done=done, of=len(finalists) * confirm.seeds) if finalists else None


def with_confirmations(experiment: ExperimentConfig, rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Add to each row the scores that confirm it, and whether their mean decides its rank.

    A trial that is a finalist no longer counts too, if it has all its seeds.
    """
    scores: dict[int, list[float]] = {}
    for row in rows:
        if row.confirms is not None and row.state == "completed" and row.score is not None:
            scores.setdefault(row.confirms, []).append(row.score)
    confirm, decided = experiment.search.confirm, set[int]()
    if confirm and (now := confirmation_of(experiment, rows)) and now.is_whole:
        over = _seeds_over(confirm, experiment.fixed.seed, rows)
        decided = {number for number in scores if len(over.get(number, ())) == confirm.seeds}
    return [
        replace(
            row, confirmed=tuple(scores.get(row.number, ())), is_confirmed=row.number in decided
        )
        for row in rows
    ]


def _seeds_over(confirm: ConfirmConfig, seed: int, rows: Sequence[TrialRow]) -> dict[int, set[int]]:
    """Return the confirming seeds whose training is over, by finalist."""
    over: dict[int, set[int]] = {}
    for row in rows:
        if row.confirms is None or row.state == "running":
            continue
        if row.config["seed"] in confirm.new_seeds(seed):
            over.setdefault(row.confirms, set()).add(row.config["seed"])
    return over
