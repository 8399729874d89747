"""Low-rank adapters of a frozen backbone (Hu et al. 2022, "LoRA", section 4.1).

A weight W of shape (rows, columns) becomes W + s B A, of which only B (rows, rank), which is 0 at
first, and A (rank, columns) are trained; s = 16 / rank, so that one learning rate suits all ranks.
The kernel of a convolution is taken as a matrix with one row for each output channel.

Adapters are parametrizations of torch's: whoever reads the weight gets the sum. They are part of
checkpoints, and merged into the weights of models (``merged_state``).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dann_search.models.backbone import PARTS, Backbone, is_adapter, plain_name

ALPHA = 16.0


class LowRank(nn.Module):
    """Adds the product of two small matrices to a weight.

    Args:
        weight: of shape (rows, …).
        rank: columns of B and rows of A; at most what a matrix of this shape can have.
    """

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.scale = ALPHA / rank
        self.a = nn.Parameter(weight.new_empty(min(rank, rows, columns), columns))
        self.b = nn.Parameter(weight.new_zeros(rows, min(rank, rows, columns)))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight."""
        return weight + self.scale * (self.b @ self.a).view_as(weight)


def adapted_weight(module: nn.Module) -> str | None:
    """Return the name of a layer's weight that adapters change; None if there is none.

    They change linear layers, those of attention among them, and convolutions. The small kernels of
    depthwise and other grouped convolutions stay as they are.
    """
    if isinstance(module, nn.MultiheadAttention):
        return "in_proj_weight" if module.in_proj_weight is not None else None
    ordinary = isinstance(module, nn.Conv2d) and module.groups == 1
    return "weight" if isinstance(module, nn.Linear) or ordinary else None


def adaptable(backbone: nn.Module) -> bool:
    """Return whether any layer of a backbone can have an adapter."""
    return any(adapted_weight(module) for module in backbone.modules())


def add_adapters(backbone: Backbone, rank: int) -> None:
    """Give the layers of unfrozen stages adapters, which alone are trained of the backbone.

    Batch-norm statistics of unfrozen stages move as without adapters.
    """
    for path, module in list(backbone.named_modules()):
        name = adapted_weight(module)
        if name and backbone.stage_of(f"{path}.{name}") >= backbone.frozen:
            adapter = LowRank(module.get_parameter(name), rank)
            # "unsafe" leaves out a trial run; the shape is the weight's by construction.
            parametrize.register_parametrization(module, name, adapter, unsafe=True)
    backbone.adapted = True
    backbone.hold_below(len(backbone.stage_names) - backbone.frozen)


@torch.no_grad()
def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network as of a plain one: adapted weights are their sums."""
    state = {}
    for name, value in network.state_dict().items():
        plain = plain_name(name)
        if PARTS not in name:
            state[name] = value
        elif not is_adapter(name):
            path, _, weight = plain.rpartition(".")
            state[plain] = getattr(network.get_submodule(path), weight)
    return state
