"""torchvision's classification networks, cut into stages."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dann_search.models.backbone import Backbone


def _declare_missing_operators() -> None:
    """Let torchvision be imported beside a CPU-only torch.

    The wheel on the package index is linked against CUDA's libraries. Beside a CPU build of torch
    its compiled operators stay unloaded, and its import then fails as it registers shapes for two
    of them (box suppression, which no backbone uses). Declaring the two is all that is needed.
    """
    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
    _keep_alive.append(library)


_keep_alive: list[torch.library.Library] = []
try:
    import torchvision.models as tv
except RuntimeError:
    _declare_missing_operators()
    import torchvision.models as tv


def _resnet(network: Any) -> Backbone:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    layers = {name: getattr(network, name) for name in ("layer1", "layer2", "layer3", "layer4")}
    return Backbone({"stem": stem, **layers}, feature_size=network.fc.in_features)


def _cut(
    features: nn.Sequential, names: tuple[str, ...], ends: tuple[int, ...], feature_size: int
) -> Backbone:
    starts = (0, *ends[:-1])
    stages = {
        name: features[start:end] for name, start, end in zip(names, starts, ends, strict=True)
    }
    return Backbone(stages, feature_size)


def _vgg16(network: Any) -> Backbone:
    # Each block ends with its pooling layer.
    names = ("block1", "block2", "block3", "block4", "block5")
    return _cut(network.features, names, (5, 10, 17, 24, 31), 512)


def _squeezenet(network: Any) -> Backbone:
    # 0-2 convolution and pooling; 3-5, 6-8 fire modules and pooling; 9-12 fire modules.
    names = ("stem", "fire1", "fire2", "fire3")
    return _cut(network.features, names, (3, 6, 9, 13), 512)


def _shufflenet(network: Any) -> Backbone:
    stem = nn.Sequential(network.conv1, network.maxpool)
    rest = {name: getattr(network, name) for name in ("stage2", "stage3", "stage4", "conv5")}
    return Backbone({"stem": stem, **rest}, network.fc.in_features)


def _mobilenet_v3_small(network: Any) -> Backbone:
    # Cut where the resolution halves; the last stage ends with a 1 x 1 convolution.
    names = ("stem", "stage1", "stage2", "stage3", "stage4")
    return _cut(network.features, names, (1, 2, 4, 9, 13), 576)


CUTS: dict[str, Callable[[Any], Backbone]] = {
    "squeezenet1_1": _squeezenet,
    "shufflenet_v2_x0_5": _shufflenet,
    "mobilenet_v3_small": _mobilenet_v3_small,
    "resnet18": _resnet,
    "resnet50": _resnet,
    "vgg16": _vgg16,
}


def build(name: str, state: dict[str, torch.Tensor] | None) -> Backbone:
    """Torchvision's network ``name``, with weights of ``state`` or random ones, in stages."""
    network: nn.Module = tv.get_model(name, weights=None)
    if state is not None:
        network.load_state_dict(state)
    return CUTS[name](network)


def weights_url(name: str) -> str:
    """Where torchvision's weights of that name, as ``VGG16_Weights.IMAGENET1K_V1``, lie."""
    url: str = tv.get_weight(name).url
    return url
