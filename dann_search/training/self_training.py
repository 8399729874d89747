"""Self-training: the last epochs also learn the labels that the network gives target images.

Class-balanced self-training (Zou et al. 2018): of the images that the network gives a class, it
learns the surest quarter. One threshold for all classes would choose from the easy ones alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NOT_LEARNT = -100
"""Label of an image that is left out; what torch's cross-entropy ignores."""

SURE = 0.25
"""Share of each class that is learnt; in the experiments of Zou et al. it rises from 0.2 to 0.5."""


def pseudo_labels(logits: Tensor) -> Tensor:
    """Label each class's surest quarter.

    Args:
        logits: of the target's training images, (n, classes).

    Returns:
        Labels (n,); ``NOT_LEARNT`` for all others.
    """
    sureness, answers = logits.double().softmax(1).max(1)
    labels = torch.full_like(answers, NOT_LEARNT)
    for answer in range(logits.shape[1]):
        rows = (answers == answer).nonzero().squeeze(1)
        # Stable: the same rows wherever probabilities are equal.
        surest = rows[sureness[rows].argsort(descending=True, stable=True)]
        labels[surest[: max(1, round(SURE * len(rows)))]] = answer
    return labels


def pseudo_label_loss(logits: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    """Compute the cross-entropy of the labelled among target images, as this worker's share.

    Args:
        logits: (n, classes).
        labels: (n,), some of them ``NOT_LEARNT``.
        batch_size: images a domain over all workers, whether labelled or not.
    """
    total = F.cross_entropy(logits, labels, reduction="sum", ignore_index=NOT_LEARNT)
    return total / batch_size
