"""Progress of the finalists' trainings with new seeds, and when their means rank trials."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dann_search.config.experiment import ConfirmConfig, ExperimentConfig
from dann_search.outputs.shared import Confirmation

if TYPE_CHECKING:
    from dann_search.results.reader import TrialRow


def confirmation_of(
    experiment: ExperimentConfig, rows: Sequence["TrialRow"]
) -> Confirmation | None:
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


def with_confirmations(
    experiment: ExperimentConfig, rows: Sequence["TrialRow"]
) -> list["TrialRow"]:
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
            row,
            confirmed=tuple(scores.get(row.number, ())),
            is_confirmed=row.number in decided,
        )
        for row in rows
    ]


def _seeds_over(
    confirm: ConfirmConfig, seed: int, rows: Sequence["TrialRow"]
) -> dict[int, set[int]]:
    """Return the confirming seeds whose training is over, by finalist."""
    over: dict[int, set[int]] = {}
    for row in rows:
        if row.confirms is None or row.state == "running":
            continue
        if row.config["seed"] in confirm.new_seeds(seed):
            over.setdefault(row.confirms, set()).add(row.config["seed"])
    return over
