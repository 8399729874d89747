"""torchvision's classification networks, cut into stages."""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from dann_search.models.backbone import Backbone


def _declare_missing_operators() -> None:
    """Let torchvision be imported beside a CPU-only torch.

    The wheel on the package index is linked against CUDA's libraries. Beside a CPU build of torch its compiled
    operators stay unloaded, and its import then fails as it registers shapes for two of them (box suppression,
    which no backbone uses). Declaring the two, if they are absent, is all that is needed.
    """
    if torch.version.cuda is None and torch.version.hip is None:
        from importlib.util import find_spec

        spec = find_spec("torchvision")
        if spec is None or spec.origin is None:
            return
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _keep_alive.append(library)


_keep_alive: list[torch.library.Library] = []
try:
    import torchvision.models as tv
except RuntimeError:
    _declare_missing_operators()
    import torchvision.models as tv


def _resnet(network: nn.Module) -> Backbone:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)  # type: ignore[arg-type]
    layers = {f"layer{i}": getattr(network, f"layer{i}") for i in range(1, 5)}
    return Backbone(OrderedDict(stem=stem, **layers), feature_size=network.fc.in_features)  # type: ignore[union-attr,arg-type]


def _cut(
    features: nn.Sequential, names: tuple[str, ...], ends: tuple[int, ...], feature_size: int
) -> Backbone:
    starts = (0, *ends[:-1])
    stages = OrderedDict(
        (name, features[start:end]) for name, start, end in zip(names, starts, ends, strict=True)
    )
    return Backbone(stages, feature_size)


def _vgg16(network: nn.Module) -> Backbone:
    # Each block ends with its pooling layer.
    names = ("block1", "block2", "block3", "block4", "block5")
    return _cut(network.features, names, (5, 10, 17, 24, 31), 512)  # type: ignore[arg-type]


def _squeezenet(network: nn.Module) -> Backbone:
    # 0-2 convolution and pooling; 3-5, 6-8 fire modules and pooling; 9-12 the last four fire modules.
    names = ("stem", "fire1", "fire2", "fire3")
    return _cut(network.features, names, (3, 6, 9, 13), 512)  # type: ignore[arg-type]


CUTS: dict[str, Callable[[nn.Module], Backbone]] = {
    "squeezenet1_1": _squeezenet,
    "resnet18": _resnet,
    "resnet50": _resnet,
    "vgg16": _vgg16,
}


def build(name: str, state: dict[str, torch.Tensor] | None) -> Backbone:
    """Torchvision's network ``name``, with the weights in ``state`` or random ones, cut into stages."""
    network: nn.Module = tv.get_model(name, weights=None)
    if state is not None:
        network.load_state_dict(state)
    return CUTS[name](network)
