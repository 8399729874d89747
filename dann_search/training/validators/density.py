"""SND: whether target images have dense neighbourhoods in the space of outputs."""

import numpy as np

from dann_search.config.extensions import ValidatorSpec, register_validator
from dann_search.training.validators.view import ValidationView, entropy, softmax

TEMPERATURE = 0.05


@register_validator(
    ValidatorSpec(
        name="snd",
        words="density of the target's soft neighbourhoods",
        source="Saito et al. 2021",
    )
)
def soft_neighborhood_density(view: ValidationView) -> float:
    """Compute the mean entropy of each target image's softmax over similarities to the others.

    Saito et al. 2021, "Tune it the right way: unsupervised validation of domain adaptation via soft
    neighborhood density", equations 2 and 3: similarities are cosines of the predicted
    probabilities, divided by 0.05. High when each image has many near neighbours. The maximum,
    log(n - 1), is that of a network with the same prediction for all images.
    """
    outputs = view.target_probabilities
    if len(outputs) < 2:
        return 0.0
    outputs = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    similarities = outputs @ outputs.T / TEMPERATURE
    np.fill_diagonal(similarities, -np.inf)
    return float(entropy(softmax(similarities)).mean())
