"""torchvision's classification networks, cut into stages."""

from collections.abc import Callable
from itertools import compress
from typing import Any

import torch
from torch import nn

from dann_search.data.torch_compiler import without_compiler
from dann_search.data.torchvision_shim import torchvision
from dann_search.models.backbone import Backbone, StagedBackbone
from dann_search.models.catalog import CATALOG

tv = torchvision.models


def _named(stages: dict[str, list[nn.Module]], feature_size: int) -> Backbone:
    return StagedBackbone(
        {name: nn.Sequential(*parts) for name, parts in stages.items()}, feature_size
    )


def _resnet(network: Any) -> Backbone:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    layers = {name: getattr(network, name) for name in ("layer1", "layer2", "layer3", "layer4")}
    return StagedBackbone({"stem": stem, **layers}, feature_size=network.fc.in_features)


def _cut(name: str, ends: tuple[int, ...], feature_size: int) -> Callable[[Any], Backbone]:
    """Cut ``network.features`` before the modules numbered ``ends``."""
    starts = (0, *ends[:-1])

    def cut(network: Any) -> Backbone:
        ranges = zip(CATALOG[name].stages, starts, ends, strict=True)
        stages = {stage: network.features[start:end] for stage, start, end in ranges}
        return StagedBackbone(stages, feature_size)

    return cut


def _shufflenet(network: Any) -> Backbone:
    stem = nn.Sequential(network.conv1, network.maxpool)
    rest = {name: getattr(network, name) for name in ("stage2", "stage3", "stage4", "conv5")}
    return StagedBackbone({"stem": stem, **rest}, network.fc.in_features)


def _inception(network: Any) -> Backbone:
    """Without the auxiliary head: it trains the middle from scratch, fine-tuning does without."""
    names, parts = zip(*network.named_children(), strict=True)
    stages = {"stem": list(parts[: names.index("Mixed_5b")])}
    for number in (5, 6, 7):
        mixed = [name.startswith(f"Mixed_{number}") for name in names]
        stages[f"mixed{number}"] = list(compress(parts, mixed))
    return _named(stages, network.fc.in_features)


def _convnext(network: Any) -> Backbone:
    # The norm before the classifier is part of the representation, and sits behind the pooling.
    return _in_pairs(network, [network.avgpool, network.classifier[0]], 768)


def _swin(network: Any) -> Backbone:
    return _in_pairs(network, [network.norm, network.permute], network.head.in_features)


def _in_pairs(network: Any, behind: list[nn.Module], feature_size: int) -> Backbone:
    f = network.features
    stages = {"stem": [f[0]], "stage1": [f[1]], "stage2": [f[2], f[3]], "stage3": [f[4], f[5]]}
    return _named({**stages, "stage4": [f[6], f[7], *behind]}, feature_size)


class _Patches(nn.Module):
    """ViT's stem: images to patch tokens behind a class token, with their positions."""

    def __init__(self, vit: Any):
        super().__init__()
        self.conv_proj = vit.conv_proj
        self.class_token = vit.class_token
        self.pos_embedding = vit.encoder.pos_embedding
        self.dropout = vit.encoder.dropout

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.conv_proj(images).flatten(2).transpose(1, 2)
        # Not len(images), which torch.export would take for a constant.
        classes = self.class_token.expand(images.shape[0], -1, -1)
        embedded: torch.Tensor = self.dropout(torch.cat([classes, tokens], 1) + self.pos_embedding)
        return embedded


class _ClassToken(nn.Module):
    """The class token as a map of one pixel."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 0, :, None, None]


def _vit(network: Any) -> Backbone:
    layers = list(network.encoder.layers)
    quarter = len(layers) // 4
    stages: dict[str, list[nn.Module]] = {"stem": [_Patches(network)]}
    for index in range(4):
        stages[f"blocks{index + 1}"] = layers[index * quarter : (index + 1) * quarter]
    stages["blocks4"] = [*stages["blocks4"], network.encoder.ln, _ClassToken()]
    return _named(stages, network.hidden_dim)


CUTS: dict[str, Callable[[Any], Backbone]] = {
    # 0-2 convolution and pooling; 3-5, 6-8 fire modules and pooling; 9-12 fire modules.
    "squeezenet1_1": _cut("squeezenet1_1", (3, 6, 9, 13), 512),
    "shufflenet_v2_x0_5": _shufflenet,
    # Where the resolution halves; the last stage ends with a 1 x 1 convolution.
    "mobilenet_v3_small": _cut("mobilenet_v3_small", (1, 2, 4, 9, 13), 576),
    "mobilenet_v3_large": _cut("mobilenet_v3_large", (2, 4, 7, 13, 17), 960),
    "efficientnet_b0": _cut("efficientnet_b0", (1, 2, 3, 4, 6, 9), 1280),
    "efficientnet_v2_s": _cut("efficientnet_v2_s", (1, 2, 3, 4, 6, 8), 1280),
    "resnet18": _resnet,
    "resnet34": _resnet,
    "resnet50": _resnet,
    "resnet101": _resnet,
    # Each block ends with its pooling layer.
    "vgg16": _cut("vgg16", (5, 10, 17, 24, 31), 512),
    "vgg16_bn": _cut("vgg16_bn", (7, 14, 24, 34, 44), 512),
    "inception_v3": _inception,
    "convnext_tiny": _convnext,
    "swin_t": _swin,
    "vit_b_16": _vit,
}


def build(name: str, state: dict[str, torch.Tensor] | None) -> Backbone:
    """Torchvision's network ``name``, with weights of ``state`` or random ones, in stages."""
    options = {"init_weights": state is None} if name == "inception_v3" else {}
    with without_compiler():  # random weights on the meta device ask for it
        network: nn.Module = tv.get_model(name, weights=None, **options)
    if state is not None:
        network.load_state_dict(state)
    return CUTS[name](network)


def native_names(name: str) -> dict[str, str]:
    """Torchvision's own state-dict names of a staged network's parameters and buffers, by ours.

    Both networks are made of the same tensors, without memory for them here; that tells.
    """
    options = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        network: nn.Module = tv.get_model(name, weights=None, **options)
    native = {id(value): key for key, value in network.state_dict(keep_vars=True).items()}
    staged = CUTS[name](network).state_dict(keep_vars=True)
    return {key: native[id(value)] for key, value in staged.items()}


def weights_url(name: str) -> str:
    """Where torchvision's weights of that name, as ``VGG16_Weights.IMAGENET1K_V1``, lie."""
    url: str = tv.get_weight(name).url
    return url
