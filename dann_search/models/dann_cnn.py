"""A small convolutional backbone as in the DANN paper for digits (Ganin et al. 2016, figure 4a)."""

from torch import Tensor, nn

from dann_search.models.backbone import Backbone, StagedBackbone


def _block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )


def build(state: dict[str, Tensor] | None) -> Backbone:
    """Three convolutions, each with batch norm and pooling; random weights without a ``state``."""
    stages = dict(conv1=_block(3, 32, 5), conv2=_block(32, 48, 5), conv3=_block(48, 96, 3))
    backbone = StagedBackbone(stages, feature_size=96)
    if state is not None:
        backbone.load_state_dict(state)
    return backbone
