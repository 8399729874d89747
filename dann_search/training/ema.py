"""An exponential moving average of the trained weights, validated and kept in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.checkpoint import trained_state


class WeightAverage:
    """``average = decay * average + (1 - decay) * weights`` after each step.

    Moving batch-norm statistics are averaged too, so that they fit the weights.
    """

    def __init__(self, network: DannNetwork, decay: float):
        self.network, self.decay = network, decay
        self.average = {name: v.detach().clone() for name, v in self._weights().items()}

    def _weights(self) -> dict[str, Tensor]:
        state = trained_state(self.network)
        return {name: value for name, value in state.items() if value.is_floating_point()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step in."""
        for name, value in self._weights().items():
            self.average[name].lerp_(value, 1 - self.decay)

    def load(self, average: dict[str, Tensor]) -> None:
        """Go on from a saved average."""
        for name, value in average.items():
            self.average[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network with averaged weights, for the time of the block."""
        weights = self._weights()
        kept = {name: value.detach().clone() for name, value in weights.items()}
        self._put(weights, self.average)
        try:
            yield
        finally:
            self._put(weights, kept)

    @staticmethod
    @torch.no_grad()
    def _put(weights: dict[str, Tensor], values: dict[str, Tensor]) -> None:
        for name, value in weights.items():
            value.copy_(values[name])
