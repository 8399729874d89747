"""SND: whether the network's outputs put target images into dense neighbourhoods."""

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
    """Mean entropy of each target image's softmax over its similarities to the others.

    Saito et al. 2021, "Tune it the right way: unsupervised validation of domain adaptation via soft
    neighborhood density", equations 2 and 3: similarities are cosines of the predicted
    probabilities, divided by 0.05. High when each image has many near neighbours. At most
    log(n - 1), which a network reaches that gives all images the same prediction.
    """
    outputs = view.target_probabilities
    if len(outputs) < 2:
        return 0.0
    outputs = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    similarities = outputs @ outputs.T / TEMPERATURE
    np.fill_diagonal(similarities, -np.inf)
    return float(entropy(softmax(similarities)).mean())
