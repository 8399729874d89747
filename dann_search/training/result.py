"""What an epoch of training reports, and the one rule of which epoch is best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dann_search.config.experiment import F1_MACRO as F1_MACRO
from dann_search.config.trial import TrialConfig
from dann_search.errors import RunError

OUT_OF_MEMORY = "out of memory"
LOSS, LOGITS = "loss", "sum of validation logits"
"""What is no longer finite where a training has diverged."""


class DivergedError(RunError):
    """The loss became infinite or not a number."""


@dataclass(frozen=True)
class EpochResult:
    """One epoch.

    Attributes:
        epoch: counted from 1.
        f1_macro_val, accuracy_val, precision_macro_val, recall_macro_val: on target val; None where
            the target has no labels.
        label_loss: mean cross-entropy on source batches.
        domain_loss: mean binary cross-entropy of the domain discriminator; None without one.
        adaptation_loss: mean of another method's adaptation loss, times lambda, with an extra term
            and the discriminator's penalty; None without any of them.
        domain_accuracy: its share of right answers in training; None without one.
        lambda_: weight of the adaptation at the epoch's last step; None without any.
        learning_rate, head_learning_rate: at the epoch's last step.
        images_per_s: training images of both domains a second, over all workers.
        seconds: wall time of the epoch, validation included.
        validators: label-free scores, by name; empty where an older version trained.
    """

    epoch: int
    f1_macro_val: float | None
    accuracy_val: float | None
    precision_macro_val: float | None
    recall_macro_val: float | None
    label_loss: float
    domain_loss: float | None
    domain_accuracy: float | None
    lambda_: float | None
    learning_rate: float
    head_learning_rate: float
    images_per_s: float
    seconds: float
    adaptation_loss: float | None = None
    validators: dict[str, float] = field(default_factory=dict)


History = tuple[EpochResult, ...]


def score_of(epoch: Mapping[str, Any], objective: str) -> float:
    """Score an epoch, given by its fields, by the objective; higher is better."""
    score: float = (
        epoch["f1_macro_val"] if objective == F1_MACRO else epoch["validators"][objective]
    )
    return score


def require_finite(what: str, value: float, epoch: int, config: TrialConfig) -> None:
    """Raise a DivergedError where ``what`` is no longer finite."""
    if not math.isfinite(value):
        rate, factor = config.learning_rate, config.head_lr_factor
        raise DivergedError(
            f"the {what} became {value} in epoch {epoch}; the learning rate "
            f"({rate:g}, heads {rate * factor:g}) is probably too high"
        )


def is_of_the_recipe(error: str) -> bool:
    """Return whether a trial failed by what its recipe asks for: it diverged, or lacked memory."""
    diverged = tuple(f"the {what} became " for what in (LOSS, LOGITS))
    return error.startswith((f"{OUT_OF_MEMORY}: ", *diverged))


def best_of(history: Sequence[Mapping[str, Any]], objective: str) -> Mapping[str, Any]:
    """Return the epoch of highest score, the earliest on ties."""
    return max(history, key=lambda epoch: (score_of(epoch, objective), -epoch["epoch"]))


def best_epoch(history: Sequence[EpochResult], objective: str = F1_MACRO) -> EpochResult:
    """``best_of`` epochs as training makes them."""
    number: int = best_of([vars(epoch) for epoch in history], objective)["epoch"]
    return history[number - 1]
