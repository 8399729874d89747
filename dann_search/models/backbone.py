"""A backbone as an ordered list of named stages, so that unfrozen depth means the same for all."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

BATCH_NORM = nn.modules.batchnorm._BatchNorm
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
SOURCE = "source_"
"""Before the name of a statistic of the source's, where each domain has its own."""


PARTS = ".parametrizations."
"""Within the names of a weight that has an adapter (``lora.py``), and of the adapter's own."""


def is_adapter(name: str) -> bool:
    """Return whether a name of a state dict is of an adapter's weights."""
    return PARTS in name and not name.endswith(".original")


def is_statistic(name: str) -> bool:
    """Return whether a name of a state dict is of a batch-norm statistic, of either domain."""
    return name.rpartition(".")[2].removeprefix(SOURCE) in STATISTICS


def plain_name(name: str) -> str:
    """Return the name that the tensor has, or belongs to, in a plain backbone.

    That of a statistic without its domain, and that of a weight for the parts of an adapted one.
    """
    layer, adapted, part = name.partition(PARTS)
    if adapted:
        return f"{layer}.{part.split('.')[0]}"
    path, dot, last = name.rpartition(".")
    return f"{path}{dot}{last.removeprefix(SOURCE)}" if is_statistic(name) else name


class Backbone(nn.Module):
    """Images (n, 3, side, side) to features (n, feature_size), its weights divided into stages.

    Args:
        stage_names: in order, stem first.
        feature_size: length of an image's features.
    """

    def __init__(self, stage_names: Sequence[str], feature_size: int):
        super().__init__()
        self.stage_names = tuple(stage_names)
        self.feature_size = feature_size
        self.frozen = 0
        self.adapted = False
        self._held = 0

    def stage_of(self, name: str) -> int:
        """Index of the stage that a parameter or buffer, by its state-dict name, belongs to."""
        raise NotImplementedError

    def freeze_below(self, unfrozen_depth: int | None) -> None:
        """Train only the last ``unfrozen_depth`` stages (all where None, none for 0), ever.

        Stages below get no gradient and keep their batch-norm statistics.
        """
        depth = len(self.stage_names) if unfrozen_depth is None else unfrozen_depth
        self.frozen = max(0, len(self.stage_names) - depth)
        self.hold_below(depth)

    def hold_below(self, unfrozen_depth: int) -> None:
        """Freeze more than ``freeze_below`` did, for now: gradual unfreezing."""
        self._held = max(self.frozen, len(self.stage_names) - unfrozen_depth)
        for name, parameter in self.named_parameters():
            held = self.stage_of(plain_name(name)) < self._held
            parameter.requires_grad_(not held and (is_adapter(name) or not self.adapted))
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Like ``nn.Module.train``, but what is frozen stays in eval mode."""
        super().train(mode)
        if mode and self._held:
            stages = {name: self.stage_of(plain_name(name)) for name in self.state_dict()}
            trained = {name for name, stage in stages.items() if stage >= self._held}
            _keep_in_eval(self, "", trained)
        return self

    @property
    def divides(self) -> bool:
        """Whether the frozen stages can be run apart from the others: here where all are frozen."""
        return self.frozen == len(self.stage_names)

    def frozen_stages(self, images: Tensor) -> Tensor:
        """Run the frozen stages alone; ``other_stages`` continues with what they return."""
        features: Tensor = self(images)
        return features

    def other_stages(self, maps: Tensor) -> Tensor:
        """Features (n, feature_size) from what ``frozen_stages`` returned."""
        return maps

    @property
    def frozen_names(self) -> frozenset[str]:
        """State-dict names of what is never trained."""

        def is_frozen(name: str) -> bool:
            if self.adapted and not (is_adapter(name) or is_statistic(name)):
                return True
            return self.stage_of(plain_name(name)) < self.frozen

        return frozenset(filter(is_frozen, self.state_dict()))

    def frozen_state(self) -> dict[str, Tensor]:
        """Return the state of the frozen stages by plain names, both domains' statistics as one."""
        plain = ((n, value) for n, value in self.state_dict().items() if n == plain_name(n))
        return {name: value for name, value in plain if self.stage_of(name) < self.frozen}


def _keep_in_eval(module: nn.Module, prefix: str, trained: set[str]) -> None:
    """Put the largest modules that have weights, none of them trained, into eval mode."""
    for name, child in module.named_children():
        path = f"{prefix}{name}."
        state = [f"{path}{key}" for key in child.state_dict()]
        if state and trained.isdisjoint(state):
            child.eval()
        else:
            _keep_in_eval(child, path, trained)


class StagedBackbone(Backbone):
    """A backbone of stages run one after another, then average pooling.

    Args:
        stages: the modules in order, by name.
        feature_size: channels of the last stage's output, times ``positions`` squared.
        positions: side of the grid that is pooled to: 1 for the mean over the whole map.
    """

    def __init__(self, stages: Mapping[str, nn.Module], feature_size: int, positions: int = 1):
        super().__init__(list(stages), feature_size)
        self.stages = nn.Sequential(OrderedDict(stages))
        self.positions, self.pool = positions, nn.AdaptiveAvgPool2d(positions)

    def stage_of(self, name: str) -> int:
        """As its name says: ``stages.<stage>.…``."""
        return self.stage_names.index(name.split(".")[1])

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, side, side) to features (n, feature_size)."""
        return self._pooled(self.stages(images))

    @property
    def divides(self) -> bool:
        """Whether the frozen stages can be run apart from the others: always."""
        return True

    def frozen_stages(self, images: Tensor) -> Tensor:
        """Run the frozen stages alone; where all are, pool as well."""
        maps: Tensor = self.stages[: self.frozen](images)
        return self._pooled(maps) if self.frozen == len(self.stages) else maps

    def other_stages(self, maps: Tensor) -> Tensor:
        """Features (n, feature_size) from what ``frozen_stages`` returned."""
        if self.frozen == len(self.stages):
            return maps
        return self._pooled(self.stages[self.frozen :](maps))

    def _pooled(self, maps: Tensor) -> Tensor:
        if tuple(maps.shape[-2:]) != (self.positions, self.positions):  # else each is its own mean
            maps = self.pool(maps)
        return torch.flatten(maps, 1)
