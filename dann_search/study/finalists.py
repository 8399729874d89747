"""Train finalists again with new seeds, so that the winner is not the luckiest seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import ConfirmConfig
from dann_search.study.study_names import CONFIG, CONFIRMS, SEED


@dataclass(frozen=True)
class Repetition:
    """A finalist's parameters, to be trained with another seed."""

    finalist: int
    seed: int
    params: dict[str, Any]


def wanted(confirm: ConfirmConfig, trials: Iterable[FrozenTrial], seed: int) -> list[Repetition]:
    """Return what is still to be trained: each new seed of each finalist."""
    trials = list(trials)
    there = {
        (t.user_attrs[CONFIRMS], t.user_attrs[SEED]) for t in trials if CONFIRMS in t.user_attrs
    }
    return [
        Repetition(finalist.number, one, dict(finalist.params))
        for finalist in finalists(confirm, trials)
        for one in confirm.new_seeds(seed)
        if (finalist.number, one) not in there
    ]


def finalists(confirm: ConfirmConfig, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the best completed trials of the search itself, each of another recipe."""
    completed = {
        t.number: t
        for t in trials
        if t.state == TrialState.COMPLETE and CONFIRMS not in t.user_attrs and t.intermediate_values
    }
    scores = {number: max(t.intermediate_values.values()) for number, t in completed.items()}
    recipes = {number: t.user_attrs.get(CONFIG, number) for number, t in completed.items()}
    return [completed[number] for number in confirm.finalists(scores, recipes)]
