"""Keep an exponential moving average of the weights, validated and saved in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dann_search.models.network import DannNetwork
from dann_search.training.checkpoint import trained_state
from dann_search.training.ranks import Ranks


class WeightAverage:
    """Averages the weights of all steps; those of earlier ones count ``decay`` times less each.

    After ``n`` steps it is the sum of ``decay^(n - i) * weights_i`` over ``sum of decay^(n - i)``:
    without the random weights that training began with, which would still make up 79 % of an
    average with a decay of 0.999 after 240 steps (the correction of Adam's moments, Kingma and Ba
    2015, section 3). Moving batch-norm statistics are averaged too, so that they fit the weights.
    """

    def __init__(self, network: DannNetwork, decay: float):
        self.network, self.decay = network, decay
        self.average = {name: v.detach().clone() for name, v in self._weights().items()}

    def _weights(self) -> dict[str, Tensor]:
        state = trained_state(self.network)
        return {name: value for name, value in state.items() if value.is_floating_point()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights after so many steps of the trial."""
        share = (1 - self.decay) / (1 - self.decay**steps)
        for name, value in self._weights().items():
            self.average[name].lerp_(value, share)

    def average_statistics(self, ranks: Ranks) -> None:
        """Average its batch-norm statistics over workers, each of which has its own.

        Every worker then validates, and the chief saves, the same network.
        """
        if ranks.size == 1:
            return
        with self.applied():
            ranks.average_statistics(self.network)
            for name, value in self._weights().items():
                self.average[name].copy_(value.detach())

    def load(self, average: dict[str, Tensor]) -> None:
        """Continue a saved average."""
        for name, value in average.items():
            self.average[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the averaged weights within the block."""
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
