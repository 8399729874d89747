"""timm's models through the same interface: whole networks, their weights grouped into stages."""

import difflib
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# First: it makes torchvision, which timm imports, importable beside a CPU-only torch.
from dann_search.data.torchvision_shim import torchvision  # noqa: F401  isort: skip
import timm  # isort: skip
from timm.models._manipulate import group_with_matcher  # isort: skip

from dann_search.errors import InputError
from dann_search.models.backbone import Backbone, plain_name
from dann_search.models.catalog import IMAGENET_MEAN, IMAGENET_STD, BackboneSpec

ANY_GRID = {"vision_transformer", "eva"}
"""Modules of timm whose networks are built for any number of patches: ViT, DINOv2 and DINOv3, CLIP,
SigLIP, EVA. timm's ``fixed_input_size`` says only which side their published weights are of."""


EMBEDDING = r"cls_token|reg_token|pos_embed|patch_embed|norm_pre"
"""What comes before the blocks in networks of these modules. timm 1.0.21 counts two of them to the
top stage, which would then need the gradients of all others."""


IN_TURN: Mapping[str, tuple[str, ...]] = {
    "ConvNeXt": ("stem", "stages", "norm_pre"),
    "EfficientNet": ("conv_stem", "bn1", "blocks", "conv_head", "bn2"),
    "ResNet": ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "VisionTransformer": ("patch_embed", "_pos_embed", "patch_drop", "norm_pre", "blocks", "norm"),
}
"""What timm's classes call one after another before ``forward_head``."""


class TimmBackbone(Backbone):
    """A network of timm's without its head, divided as timm divides it for layer-wise rates."""

    def __init__(self, network: Any):
        matcher = network.group_matcher(coarse=True)
        if type(network).__module__.rsplit(".")[-1] in ANY_GRID:
            matcher["stem"] = EMBEDDING
        groups = group_with_matcher(network.state_dict().items(), matcher, reverse=True)
        numbers = {group: number for number, group in enumerate(sorted(set(groups.values())))}
        stages = ["stem", *(f"stage{number}" for number in range(1, len(numbers)))]
        size = int(getattr(network, "head_hidden_size", None) or network.num_features)
        super().__init__(stages, feature_size=size)
        self.network = network
        self._stage_of = {name: numbers[group] for name, group in groups.items()}

    def stage_of(self, name: str) -> int:
        """As timm's own grouping says."""
        return self._stage_of[name.removeprefix("network.")]

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, side, side) to features (n, feature_size)."""
        features: Tensor = self.network(images)
        return features

    @property
    def divides(self) -> bool:
        """Whether the frozen stages can be run apart: in networks whose parts are known."""
        return super().divides or type(self.network).__name__ in IN_TURN

    def frozen_stages(self, images: Tensor) -> Tensor:
        """Run the frozen stages alone; where all are, to the features."""
        if super().divides:
            return super().frozen_stages(images)
        for part, stage in self._in_turn:
            images = part(images) if stage < self.frozen else images
        return images

    def other_stages(self, maps: Tensor) -> Tensor:
        """Features (n, feature_size) from what ``frozen_stages`` returned."""
        if super().divides:
            return maps
        for part, stage in self._in_turn:
            maps = part(maps) if stage >= self.frozen else maps
        features: Tensor = self.network.forward_head(maps)
        return features

    @cached_property
    def _in_turn(self) -> list[tuple[Callable[[Tensor], Tensor], int]]:
        """The network's parts with their stages; one without weights is of that before."""
        found, stage = [], 0
        for name in IN_TURN[type(self.network).__name__]:
            part = getattr(self.network, name)
            several = part.named_children() if isinstance(part, nn.Sequential) else [("", part)]
            for child, module in several:
                state = module.state_dict() if isinstance(module, nn.Module) else {}
                if state:
                    path = f"{name}.{child}" if child else name
                    stage = self._stage_of[plain_name(f"{path}.{next(iter(state))}")]
                found.append((module, stage))
        return found


def describe(name: str) -> BackboneSpec:
    """Return the specification of ``timm/…``; the network is built without memory for weights.

    Raises:
        InputError: timm has no such network, or does not say how it divides into stages.
    """
    with torch.device("meta"):
        network = _create(name)
    try:
        stages = TimmBackbone(network).stage_names
    except (AttributeError, AssertionError):
        raise InputError(f"backbone {name}: timm does not divide it into stages") from None
    config = network.pretrained_cfg
    side = int(config["input_size"][-1])
    patch = int(network.patch_embed.patch_size[0]) if _takes_any_grid(name) else 1
    only = patch == 1 and bool(config.get("fixed_input_size"))
    return BackboneSpec(
        name=name,
        stages=stages,
        image_size=side,
        smallest=side if only else patch,
        only_size=only,
        multiple=patch,
        weights=name if config.get("hf_hub_id") or config.get("url") else "",
        mean=tuple(config.get("mean") or IMAGENET_MEAN),
        std=tuple(config.get("std") or IMAGENET_STD),
        licence=config.get("license") or "",
    )


def _takes_any_grid(name: str) -> bool:
    return bool(timm.models.is_model_in_modules(_model_name(name).split(".")[0], ANY_GRID))


def _create(name: str, side: int | None = None) -> Any:
    """Build timm's network without its head, with random weights; for its native side if None."""
    options: dict[str, Any] = {"img_size": side} if side and _takes_any_grid(name) else {}
    return timm.create_model(_model_name(name), pretrained=False, num_classes=0, **options)


def _model_name(name: str) -> str:
    model = name.removeprefix("timm/")
    if not timm.is_model(model.split(".")[0]):
        close = difflib.get_close_matches(model, timm.list_models(), n=1, cutoff=0.3)
        hint = f"; did you mean 'timm/{close[0]}'?" if close else ""
        raise InputError(f"unknown backbone '{name}'{hint}")
    return model


def build(name: str, state: dict[str, Tensor] | None, side: int | None = None) -> Backbone:
    """Timm's network for images of a side, with weights of ``state`` or random ones.

    Position embeddings of weights that were trained at another side are interpolated.

    Raises:
        RuntimeError: the state is that of another network.
    """
    network = _create(name, side)
    if state is not None:
        heads = network.pretrained_cfg.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else tuple(heads)
        head = tuple(f"{name}." for name in heads)
        kept = {k: v for k, v in state.items() if not k.startswith(head)}
        network.load_state_dict(_on_grid(network, kept) if _takes_any_grid(name) else kept)
    return TimmBackbone(network)


def _on_grid(network: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Interpolate the position embedding of weights to the network's grid of patches.

    As timm does, bicubic with antialiasing, but in double precision: the frozen weights of a trial
    are then the same on machines that round differently.
    """
    given, own = state.get("pos_embed"), network.pos_embed
    if given is None or own is None or given.ndim != 3 or given.shape == own.shape:
        return state
    before = 0 if network.no_embed_class else network.num_prefix_tokens
    tokens, patches = given[:, :before], given[:, before:]
    side = math.isqrt(patches.shape[1])
    if side**2 != patches.shape[1]:
        return state  # of another network, which loading says
    grid = patches.double().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(
        grid, network.patch_embed.grid_size, mode="bicubic", antialias=True, align_corners=False
    )
    resized = grid.flatten(2).transpose(1, 2).to(given.dtype)
    return {**state, "pos_embed": torch.cat([tokens, resized], 1)}


def download(name: str) -> dict[str, Tensor]:
    """Timm's own weights, from its cache or the network they are published on."""
    network = timm.create_model(_model_name(name), pretrained=True, num_classes=0)
    state: dict[str, Tensor] = network.state_dict()
    return state
