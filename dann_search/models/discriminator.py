"""The domain discriminator, and what CDAN shows it in place of the features alone."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

LARGEST_PRODUCT = 4096
"""Above this many features times classes CDAN's map is randomized (Long et al. 2018, section 3)."""

RANDOM_SIZE = 1024


def build_discriminator(
    size: int, width: int, depth: int, dropout: float, norm: str = "none"
) -> nn.Sequential:
    """Build ``depth`` hidden layers of ``width`` units, each with dropout, then one logit.

    ``norm`` is ``batch`` for batch norm after each hidden layer, before its ReLU; ``spectral`` for
    weights divided by their largest singular value (Miyato et al. 2018); or ``none``.
    """

    def linear(inputs: int, outputs: int) -> nn.Module:
        layer = nn.Linear(inputs, outputs)
        return spectral_norm(layer) if norm == "spectral" else layer

    layers: list[nn.Module] = []
    for number in range(depth):
        layers.append(linear(width if number else size, width))
        if norm == "batch":
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.ReLU(inplace=True))
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, linear(width if depth else size, 1))


class MultilinearMap(nn.Module):
    """Features (n, size) and probabilities (n, classes) to their outer product, flattened.

    Where that is long it is replaced by the product of two random projections (eq. 6), drawn when
    the network is built and saved with it.
    """

    def __init__(self, size: int, classes: int):
        super().__init__()
        self.randomized = size * classes > LARGEST_PRODUCT
        self.output_size = RANDOM_SIZE if self.randomized else size * classes
        if self.randomized:
            self.register_buffer("of_features", torch.randn(size, RANDOM_SIZE))
            self.register_buffer("of_classes", torch.randn(classes, RANDOM_SIZE))

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Return the conditioned features, (n, output_size)."""
        if self.randomized:
            projected: Tensor = features @ self.get_buffer("of_features")
            return (
                projected * (probabilities @ self.get_buffer("of_classes")) / math.sqrt(RANDOM_SIZE)
            )
        return (probabilities[:, :, None] * features[:, None, :]).flatten(1)
