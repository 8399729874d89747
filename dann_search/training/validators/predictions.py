"""Validators that read predictions only."""

import numpy as np

from dann_search.config.extensions import ValidatorSpec, register_validator
from dann_search.training.validators.view import ValidationView, entropy


@register_validator(
    ValidatorSpec(
        name="source_accuracy",
        words="accuracy on the source's validation split",
        source="baseline",
    )
)
def source_accuracy(view: ValidationView) -> float:
    """Compute the share of the source's validation images that are classified correctly."""
    return float((view.source_logits.argmax(axis=1) == view.source_labels).mean())


@register_validator(
    ValidatorSpec(
        name="entropy",
        words="minus the mean entropy of the target's predictions",
        source="Morerio et al. 2018",
    )
)
def negative_entropy(view: ValidationView) -> float:
    """Compute minus the mean entropy of the target's predictions: high for a confident network.

    Morerio et al. 2018, "Minimal-entropy correlation alignment for unsupervised deep domain
    adaptation". A network that gives every image the same class reaches the maximum.
    """
    return -float(entropy(view.target_probabilities).mean())


@register_validator(
    ValidatorSpec(
        name="info_max",
        words="entropy of the mean prediction minus mean entropy",
        source="Bridle et al. 1991",
    )
)
def mutual_information(view: ValidationView) -> float:
    """Compute InfoMax, the entropy of the mean prediction minus the mean entropy.

    Bridle et al. 1991; as a validator, Musgrave et al. 2022, "Three new validators and a
    large-scale benchmark ranking for unsupervised domain adaptation". High for predictions that
    are confident each and diverse over all; at most log(classes).
    """
    probabilities = view.target_probabilities
    return float(entropy(probabilities.mean(axis=0)) - entropy(probabilities).mean())


@register_validator(
    ValidatorSpec(
        name="bnm",
        words="nuclear norm of the predictions, as a share of its bound",
        source="Cui et al. 2020",
    )
)
def batch_nuclear_norm(view: ValidationView) -> float:
    """Compute BNM, the nuclear norm of the matrix of predictions, as a share of its bound.

    Cui et al. 2020, "Towards discriminability and diversity: batch nuclear-norm maximization under
    label insufficient situations", equation 8: at most sqrt(n * min(n, classes)).
    """
    probabilities = view.target_probabilities
    bound = np.sqrt(len(probabilities) * min(probabilities.shape))
    return float(np.linalg.norm(probabilities, "nuc") / bound)
