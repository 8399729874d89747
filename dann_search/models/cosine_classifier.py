"""The classifier of few-shot adaptation: the cosine of features and class weights, sharpened."""

import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 0.05
"""As in Chen et al. 2019 and Saito et al. 2019."""


class CosineClassifier(nn.Linear):
    """Logits (n, classes) of features (n, size): weights times features of length 1, over T.

    As in Saito et al. (2019, section 3.1), the weights themselves are not normalized, and there is
    no bias, by which saved models know it.
    """

    def __init__(self, size: int, classes: int):
        super().__init__(size, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits."""
        return F.linear(F.normalize(features), self.weight) / TEMPERATURE
