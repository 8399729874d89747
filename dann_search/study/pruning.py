"""Which of Optuna's pruners stops trials early, and at which epochs it looks."""

import copy
import math

import optuna
from optuna.trial import FrozenTrial

REDUCTION = 2
"""Successive halving keeps the best half of the trials that reach a rung.

Keeping a third finds as much in the first epochs, and less later (docs/benchmarks.md).
"""


def grace_epochs(epochs: int) -> int:
    """Epochs that successive halving gives every trial: an eighth, three reductions below all."""
    return max(1, epochs // REDUCTION**3)


def median_from(epochs: int) -> int:
    """Return the first epoch at which ``median`` looks: lambda warms up for a quarter of them."""
    return max(1, epochs // 4)


def rungs(epochs: int) -> list[int]:
    """Epochs at which ``asha`` compares trials."""
    found, epoch = [], grace_epochs(epochs)
    while epoch < epochs:
        found.append(epoch)
        epoch *= REDUCTION
    return found


def make_pruner(scheduler: str, epochs: int) -> optuna.pruners.BasePruner:
    """Return the pruner of ``search.scheduler`` for trials of ``epochs`` epochs.

    ``asha`` is asynchronous successive halving (Li et al. 2020) as Optuna has it: a trial that
    reaches a rung continues if it is among the best half of those that ever did. ``hyperband`` (Li
    et al. 2018) gives a share of the trials a later first rung.
    """
    match scheduler:
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=grace_epochs(epochs), reduction_factor=REDUCTION
            )
        case "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=grace_epochs(epochs), max_resource=epochs, reduction_factor=REDUCTION
            )
        case "median":
            # Four that reported the epoch: completed trials of another experiment have none.
            return optuna.pruners.MedianPruner(
                n_startup_trials=0, n_warmup_steps=median_from(epochs), n_min_trials=4
            )
        case _:
            return optuna.pruners.NopPruner()


def brackets(scheduler: str, epochs: int) -> list[list[int]]:
    """Return the epochs at which each bracket of trials is compared; only hyperband has several."""
    match scheduler:
        case "asha":
            return [rungs(epochs)]
        case "hyperband":
            # As many as Optuna makes; each looks first one rung later than the one before it.
            count = math.floor(math.log(epochs / grace_epochs(epochs), REDUCTION)) + 1
            return [rungs(epochs)[skip:] for skip in range(count)]
        case "median":
            return [[median_from(epochs)]]
        case _:
            return [[]]


def stop_shares(scheduler: str, epochs: int) -> dict[int, float]:
    """Return which share of the trials with so many epochs is stopped then, by epochs.

    For trials in a random order, once several were compared: half of those of a bracket.
    """
    looks = brackets(scheduler, epochs)
    return {
        epoch: (1 - 1 / REDUCTION) * sum(epoch in one for one in looks) / len(looks)
        for epoch in sorted(set().union(*looks))
    }


def expected_epochs(scheduler: str, epochs: int, trials: int) -> float:
    """Return the epochs that a trial has on average, as a pruner usually leaves them."""
    looks = brackets(scheduler, epochs)
    match scheduler:
        case "asha" | "hyperband":
            share = max(1.0, trials / len(looks))
            halved = sum(_halved(one, epochs, share) for one in looks) / len(looks)
            # Scores of early epochs tie, and samplers learn: three recorded searches by asha had
            # 5.2 and 5.0 of 8 epochs and 2.7 of 6, where a random order would have left about 2.5.
            return halved + (epochs - halved) / 3 if scheduler == "asha" else halved
        case "median":
            compared = max(0, trials - 4) / trials  # four are completed before it stops any
            return epochs - compared * (epochs - median_from(epochs)) / 2
        case _:
            return float(epochs)


def _halved(looks: list[int], epochs: int, trials: float) -> float:
    """Return mean epochs where the k-th trial at a rung continues if in the best half of k."""
    left, before, total = trials, 0, 0.0
    for look in looks:
        total += left * (look - before)
        before = look
        left = sum(max(1, k // REDUCTION) / k for k in range(1, round(left) + 1)) or left / 2
    return (total + left * (epochs - before)) / trials


def with_best_so_far(trial: FrozenTrial) -> FrozenTrial:
    """Return the trial as pruners see it: at its last epoch with the best score until then.

    A trial's value is that of its best epoch, so that is what ranks it. On the recorded trials of
    benchmarks/digits_table.csv its rank correlation with the final value is 0.90 after 9 of 12
    epochs, that of the score of the epoch itself 0.75.
    """
    scores = dict(trial.intermediate_values)
    if not scores:
        return trial
    scores[max(scores)] = max(scores.values())
    seen = copy.copy(trial)
    seen.intermediate_values = scores
    return seen


def describe_scheduler(scheduler: str, epochs: int) -> str:
    """Describe what stops trials, and at which epochs it looks."""
    looks = [_listed(one) for one in brackets(scheduler, epochs)]
    match scheduler:
        case "asha" if looks[0]:
            return (
                f"asha: after {looks[0]} of {epochs} epochs the best half of the trials continues"
            )
        case "hyperband" if looks[0]:
            parts = [f"after {one}" if one else "never" for one in looks]
            return (
                f"hyperband: a bracket of trials is looked at {', one '.join(parts)}, of {epochs} "
                "epochs; the best half of a bracket continues"
            )
        case "median":
            return (
                f"median: from epoch {median_from(epochs)} of {epochs} on a trial stops below the "
                "median of the completed ones, of four at least"
            )
        case _:
            return f"none: every trial has its {epochs} epochs"


def _listed(epochs: list[int]) -> str:
    *first, last = map(str, epochs) if epochs else [""]
    return f"{', '.join(first)} and {last}" if first else last
