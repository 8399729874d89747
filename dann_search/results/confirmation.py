"""How far finalists are trained again with new seeds, and when that decides who is best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dann_search.config.experiment import ConfirmConfig, Experiment

if TYPE_CHECKING:
    from dann_search.results.reader import TrialRow


@dataclass(frozen=True)
class Confirmation:
    """Trainings of the present finalists with new seeds: those that are over, of all."""

    done: int
    of: int

    @property
    def is_whole(self) -> bool:
        """Whether every finalist has all its seeds: only then are means worth a comparison."""
        return self.done == self.of

    def to_json(self) -> dict[str, int]:
        """As every command prints it with ``--json``."""
        return {"done": self.done, "of": self.of}

    def __str__(self) -> str:
        """For people, where it is not whole."""
        return f"confirmation incomplete: {self.done} of {self.of} trainings"


def confirmation_of(experiment: Experiment, rows: Sequence["TrialRow"]) -> Confirmation | None:
    """How far it is; None where the experiment confirms nothing or has no finalist yet.

    A training that failed is over: it is not tried again.
    """
    confirm = experiment.search.confirm
    if confirm is None:
        return None
    finalists = confirm.finalists(
        {
            row.number: row.score
            for row in rows
            if row.state == "completed" and row.confirms is None and row.score is not None
        }
    )
    over = _seeds_over(confirm, experiment.fixed.seed, rows)
    done = sum(len(over.get(number, ())) for number in finalists)
    return Confirmation(done, len(finalists) * confirm.seeds) if finalists else None


def with_confirmations(experiment: Experiment, rows: Sequence["TrialRow"]) -> list["TrialRow"]:
    """The rows, each with the scores that confirm it, and whether these decide its rank.

    One that was a finalist before others came counts too, if it has all its seeds.
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
            row,
            confirmed=tuple(scores.get(row.number, ())),
            is_confirmed=row.number in decided,
        )
        for row in rows
    ]


def _seeds_over(
    confirm: ConfirmConfig, seed: int, rows: Sequence["TrialRow"]
) -> dict[int, set[int]]:
    """By trial, with which of the seeds that are to confirm it a training is over."""
    over: dict[int, set[int]] = {}
    for row in rows:
        if row.confirms is None or row.state == "running":
            continue
        if row.config["seed"] in confirm.new_seeds(seed):
            over.setdefault(row.confirms, set()).add(row.config["seed"])
    return over
