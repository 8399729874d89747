"""What a study's trials carry beside their values: names that writers and readers share."""

from collections.abc import Iterable
from typing import Any

CONFIG = "config"
"""The whole recipe."""
BEST = "best_epoch"
"""Number, macro-F1 and validators of the best epoch."""
ERROR = "error"
STARTUP = "startup_s"
"""Seconds from a trial's submission to its first step."""
NODES = "nodes"
"""Ids of the nodes it was trained on, in their order."""
ORIGIN = "origin"
"""Where a trial's values are from, if not from the sampler: a published recipe, a start point."""
WARM = "warm_start"
"""The trial of another experiment that this one repeats; it was not trained here."""
STOPPED = "stopped"
"""After which epoch the pruner ended it, even if the trial never heard of it."""
RETRIES = "retries"
"""Number of the failed trial that this one takes up again."""
REPEATS = "repeats"
"""Number of an earlier trial of the same recipe: this one was not trained."""
CONFIRMS = "confirms"
"""Number of the trial whose parameters this one trains again."""
SEED = "seed"
"""With which seed it does."""
EXPERIMENT = "experiment"
"""Of the study: identity of its experiment; written once the study is whole."""
TOTAL = "total_trials"
"""Of the study: trials it is to have."""
STOPPED_BY = "stopped_by"
"""Of the study: why the search last ended; None while it runs."""
SPENT = "spent"
"""Of the study: hours by the clock, CPU- and GPU-hours of its trials."""


def is_own(trial: Any) -> bool:
    """Whether a trial was trained here: not known from elsewhere or before, nor still waiting."""
    return trial.state.name != "WAITING" and not {WARM, REPEATS} & trial.user_attrs.keys()


def own(trials: Iterable[Any]) -> list[Any]:
    """Return the trials that were trained here, but for failed ones that were taken up again."""
    found = [trial for trial in trials if is_own(trial)]
    again = {trial.user_attrs.get(RETRIES) for trial in found}
    return [trial for trial in found if trial.number not in again]


def best_first(trials: Iterable[Any]) -> list[Any]:
    """Return the trials of the search that have a model, best first: completed, then stopped ones.

    Those that confirm a finalist are not among them.
    """
    models = [
        trial
        for trial in trials
        if trial.state.name in ("COMPLETE", "PRUNED")
        and trial.intermediate_values
        and CONFIRMS not in trial.user_attrs
    ]
    return sorted(models, key=lambda t: (t.state.name != "COMPLETE", -best_score(t)))


def best_score(trial: Any) -> float:
    """Return the score of a trial's best epoch."""
    return float(max(trial.intermediate_values.values()))
