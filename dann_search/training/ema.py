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
    With a decay of 0 there is no average, and nothing here does anything.
    """

    def __init__(self, network: DannNetwork, decay: float):
        self.network, self.decay = network, decay
        state = trained_state(network) if decay else {}
        # The network's own tensors, which change in place.
        self._weights = {name: v for name, v in state.items() if v.is_floating_point()}
        self.average = {name: v.detach().clone() for name, v in self._weights.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights after so many steps of the trial."""
        if not self.decay:
            return
        share = (1 - self.decay) / (1 - self.decay**steps)
        torch._foreach_lerp_(list(self.average.values()), list(self._weights.values()), share)

    def average_statistics(self, ranks: Ranks) -> None:
        """Average its batch-norm statistics over workers, as ``Ranks.average_statistics`` does."""
        if self.decay and ranks.size > 1:
            with self.applied():
                ranks.average_statistics(self.network)
                self._put(self.average, self._weights)

    def load(self, average: dict[str, Tensor]) -> None:
        """Continue a saved average."""
        self._put({name: self.average[name] for name in average}, average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the averaged weights within the block."""
        kept = {name: value.detach().clone() for name, value in self._weights.items()}
        self._put(self._weights, self.average)
        try:
            yield
        finally:
            self._put(self._weights, kept)

    @staticmethod
    @torch.no_grad()
    def _put(weights: dict[str, Tensor], values: dict[str, Tensor]) -> None:
        for name, value in weights.items():
            value.copy_(values[name])
