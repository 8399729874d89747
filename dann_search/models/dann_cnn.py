"""The DANN paper's small networks for digits (Ganin et al. 2016, figure 4), with batch norm.

``dann_mnist`` and ``dann_svhn`` have the paper's convolutions (4a and 4c) and keep the position of
every feature. Their fully connected layers are the bottleneck and the heads. ``dann_cnn`` has a
block more than 4a and averages over all positions, which loses much of what tells digits apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from dann_search.models.backbone import Backbone, StagedBackbone


@dataclass(frozen=True)
class Layout:
    """One of the networks."""

    convolutions: tuple[tuple[int, int], ...]
    """Channels and kernel size, a stage each."""
    pooling: tuple[int, int]
    """Kernel size and stride of the max pooling after each convolution."""
    last_pooled: bool
    """Whether it also follows the last one."""
    positions: int
    """Side of the grid that is flattened into features; 1 for their mean."""


LAYOUTS: Mapping[str, Layout] = {
    "dann_cnn": Layout(((32, 5), (48, 5), (96, 3)), (2, 2), last_pooled=True, positions=1),
    "dann_mnist": Layout(((32, 5), (48, 5)), (2, 2), last_pooled=True, positions=7),
    "dann_svhn": Layout(((64, 5), (64, 5), (128, 5)), (3, 2), last_pooled=False, positions=7),
}


def build(name: str, state: dict[str, Tensor] | None) -> Backbone:
    """Build one of the networks, with random weights without a ``state``."""
    layout = LAYOUTS[name]
    stages: dict[str, nn.Module] = {}
    inputs = 3
    for number, (outputs, kernel) in enumerate(layout.convolutions, 1):
        stage = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )
        if number < len(layout.convolutions) or layout.last_pooled:
            stage.append(nn.MaxPool2d(*layout.pooling))
        stage.append(nn.ReLU(inplace=True))  # after pooling: the same values, of a quarter as many
        stages[f"conv{number}"] = stage
        inputs = outputs
    backbone = StagedBackbone(stages, inputs * layout.positions**2, layout.positions)
    if state is not None:
        backbone.load_state_dict(state)
    return backbone
