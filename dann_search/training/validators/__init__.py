"""Label-free scores of a network on the target, each registered in its file; higher is better.

Start with ``validate``; ``view.py`` is what a validator may see.
"""

import math

from threadpoolctl import threadpool_limits

from dann_search.config.extensions import VALIDATORS
from dann_search.training.validators.view import ValidationView

WORST = -1e9
"""Replaces a value that is not finite: such an epoch is never chosen, and JSON can hold it."""


def validate(view: ValidationView, threads: int) -> dict[str, float]:
    """Compute every registered validator, with at most ``threads`` threads."""
    thinned = view.thinned()
    with threadpool_limits(threads):
        values = {name: float(VALIDATORS.code(name)(thinned)) for name in VALIDATORS}
    return {name: value if math.isfinite(value) else WORST for name, value in values.items()}
