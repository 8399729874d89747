"""Batch norm with statistics of its own for each domain, weights and biases shared.

Li et al. 2018, "Adaptive batch normalization"; gathered in training as by Chang et al. 2019,
"Domain-specific batch normalization", who also learn weights and biases for each domain.

A layer's own statistics are the target's, so that its state without the added buffers is that of a
plain layer. The domains pass the network in turn, as under ``separate``, whose weights a training
therefore gives to the last digit. One pass of both, divided at each layer and put together again,
would normalize alike, but copies all activations each time (docs/benchmarks.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from dann_search.models.backbone import (
    BATCH_NORM,
    SOURCE,
    STATISTICS,
    is_statistic,
    plain_name,
)


def divide(module: nn.Module) -> None:
    """Give every batch norm in ``module`` the source's statistics too, at first the same."""
    for layer in module.modules():
        if isinstance(layer, BATCH_NORM) and layer.running_mean is not None:
            for name in STATISTICS:
                layer.register_buffer(SOURCE + name, layer.get_buffer(name).clone())


@contextmanager
def of_source(network: nn.Module) -> Iterator[None]:
    """Use and move the source's statistics within the block, where there are some."""
    layers = [layer for layer in network.modules() if SOURCE + STATISTICS[0] in layer._buffers]
    _swap(layers)
    try:
        yield
    finally:
        _swap(layers)


def _swap(layers: list[nn.Module]) -> None:
    for buffers in (layer._buffers for layer in layers):
        for name in STATISTICS:
            buffers[name], buffers[SOURCE + name] = buffers[SOURCE + name], buffers[name]


def is_of_source(name: str) -> bool:
    """Return whether a name of a state dict is of the source's statistics."""
    return is_statistic(name) and plain_name(name) != name
