"""Classification metrics from all predictions at once, by scikit-learn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassificationMetrics:
    """Averages over classes are unweighted; a class never predicted has precision 0."""

    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float


def classification_metrics(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int
) -> ClassificationMetrics:
    """Metrics of ``predictions`` against ``labels``, both of shape (n,), over all ``classes``.

    A class with neither labels nor predictions counts as F1 0: the average is over the label space.
    """
    # A second to import, with SciPy: whoever only loads a network needs none of it.
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predictions, labels=range(classes), average="macro", zero_division=0
    )
    return ClassificationMetrics(
        accuracy=float(accuracy_score(labels, predictions)),
        precision_macro=float(precision),
        recall_macro=float(recall),
        f1_macro=float(f1),
    )
