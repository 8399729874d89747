"""Validators of predictions alone: right on the source, sure and diverse on the target."""

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
    """Share of the source's validation images classified right."""
    return float((view.source_logits.argmax(axis=1) == view.source_labels).mean())


@register_validator(
    ValidatorSpec(
        name="entropy",
        words="minus the mean entropy of the target's predictions",
        source="Morerio et al. 2018",
    )
)
def negative_entropy(view: ValidationView) -> float:
    """Minus the mean entropy of the target's predictions: high when the network is sure.

    Morerio et al. 2018, "Minimal-entropy correlation alignment for unsupervised deep domain
    adaptation". A network that gives every image one class has the highest value of all.
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
    """InfoMax: entropy of the mean prediction minus mean entropy: sure of each, diverse over all.

    Bridle et al. 1991; as a validator, Musgrave et al. 2022, "Three new validators and a
    large-scale benchmark ranking for unsupervised domain adaptation". At most log(classes).
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
    """BNM: nuclear norm of the matrix of predictions, as a share of its upper bound.

    Cui et al. 2020, "Towards discriminability and diversity: batch nuclear-norm maximization under
    label insufficient situations", equation 8: at most sqrt(n * min(n, classes)).
    """
    probabilities = view.target_probabilities
    bound = np.sqrt(len(probabilities) * min(probabilities.shape))
    return float(np.linalg.norm(probabilities, "nuc") / bound)
