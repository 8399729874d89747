"""Label-free scores of a network on the target, by name; the higher, the better."""

import math
from collections.abc import Callable

from threadpoolctl import threadpool_limits

from dann_search.training.validators.clusters import class_ami
from dann_search.training.validators.density import soft_neighborhood_density
from dann_search.training.validators.importance import (
    deep_embedded_validation,
    importance_weighted_risk,
)
from dann_search.training.validators.predictions import (
    batch_nuclear_norm,
    mutual_information,
    negative_entropy,
    source_accuracy,
)
from dann_search.training.validators.view import ValidationView

Validator = Callable[[ValidationView], float]

VALIDATORS: dict[str, Validator] = {
    "source_accuracy": source_accuracy,
    "entropy": negative_entropy,
    "info_max": mutual_information,
    "snd": soft_neighborhood_density,
    "bnm": batch_nuclear_norm,
    "dev": deep_embedded_validation,
    "iwcv": importance_weighted_risk,
    "class_ami": class_ami,
}

WORST = -1e9
"""Instead of what is not a finite number: such an epoch is never chosen, and JSON can say it."""


def validate(view: ValidationView, threads: int) -> dict[str, float]:
    """Every validator's value, with no more threads than ``threads``."""
    thinned = view.thinned()
    with threadpool_limits(threads):
        values = {name: validator(thinned) for name, validator in VALIDATORS.items()}
    return {name: value if math.isfinite(value) else WORST for name, value in values.items()}
