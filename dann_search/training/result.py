"""What an epoch of training reports, and the one rule of which epoch is best."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochResult:
    """One epoch.

    Attributes:
        epoch: counted from 1.
        f1_macro_val, accuracy_val, precision_macro_val, recall_macro_val: on target val.
        label_loss: mean cross-entropy on source batches.
        domain_loss: mean binary cross-entropy of the domain discriminator; None without one.
        adaptation_loss: mean of another method's adaptation loss, times lambda; None without one.
        domain_accuracy: its share of right answers in training; None without one.
        lambda_: weight of the adaptation at the epoch's last step; None without any.
        learning_rate, head_learning_rate: at the epoch's last step.
        images_per_s: training images of both domains a second, over all workers.
        seconds: wall time of the epoch, validation included.
    """

    epoch: int
    f1_macro_val: float
    accuracy_val: float
    precision_macro_val: float
    recall_macro_val: float
    label_loss: float
    domain_loss: float | None
    domain_accuracy: float | None
    lambda_: float | None
    learning_rate: float
    head_learning_rate: float
    images_per_s: float
    seconds: float
    adaptation_loss: float | None = None


History = tuple[EpochResult, ...]


def best_epoch(history: Sequence[EpochResult]) -> EpochResult:
    """The epoch of highest validation macro-F1, the earliest on ties."""
    return max(history, key=lambda result: (result.f1_macro_val, -result.epoch))
