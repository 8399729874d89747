import numpy as np

from dann_search import ValidatorSpec, register_validator


@register_validator(
    ValidatorSpec(
        name="margin",
        source="our own",
        words="mean difference of the two largest class probabilities of each target image",
    )
)
def margin(view):
    two = np.sort(view.target_probabilities, axis=1)[:, -2:]
    return float((two[:, 1] - two[:, 0]).mean())
