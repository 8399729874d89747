"""A backbone as an ordered list of named stages, so that unfrozen depth means the same for all."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

BATCH_NORM = nn.modules.batchnorm._BatchNorm


class Backbone(nn.Module):
    """Stages, stem first, then global pooling.

    Args:
        stages: the modules in order, by name.
        feature_size: channels of the last stage's output.
    """

    def __init__(self, stages: Mapping[str, nn.Module], feature_size: int):
        super().__init__()
        self.stages = nn.Sequential(OrderedDict(stages))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.feature_size = feature_size
        self.frozen = 0

    def freeze_below(self, unfrozen_depth: int | None) -> None:
        """Train only the last ``unfrozen_depth`` stages (all where None, none for 0).

        Stages below get no gradient and keep their batch-norm statistics.
        """
        self.frozen = 0 if unfrozen_depth is None else max(0, len(self.stages) - unfrozen_depth)
        for index, stage in enumerate(self.stages.children()):
            stage.requires_grad_(index >= self.frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Like ``nn.Module.train``, but frozen stages stay in eval mode."""
        super().train(mode)
        for stage in self._frozen_stages:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, side, side) to features (n, feature_size)."""
        x = images
        with torch.no_grad():
            for stage in self._frozen_stages:
                x = stage(x)
        for stage in list(self.stages.children())[self.frozen :]:
            x = stage(x)
        return torch.flatten(self.pool(x), 1)

    @property
    def _frozen_stages(self) -> list[nn.Module]:
        return list(self.stages.children())[: self.frozen]
