"""Density ratio of the target's and the source's features."""

import warnings

import numpy as np
from numpy.typing import NDArray

FOLDS = 3


def density_ratio(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the target's over the source's density at each row of ``source``, shape (m,).

    A logistic regression tells the domains apart (You et al. 2019, section 4.2). The paper fits it
    to training features; here it is fitted to the other folds of the validation splits. This costs
    no pass over the training images, and no image is weighted by a model that was fitted to it.

    Args:
        source: features, shape (m, size).
        target: features, shape (n, size).
    """
    if min(len(source), len(target)) < FOLDS:
        return np.ones(len(source))
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    domains = np.repeat([0, 1], [len(source), len(target)])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # An approximate fit is good enough for a weight.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = cross_val_predict(
            classifier, np.concatenate([source, target]), domains, cv=folds, method="predict_proba"
        )
    likely = found[: len(source)].clip(1e-6, 1 - 1e-6)
    ratio: NDArray[np.float64] = likely[:, 1] / likely[:, 0] * (len(source) / len(target))
    return ratio
