"""timm's models through the same interface: whole networks, their weights grouped into stages."""

import difflib
from typing import Any

import torch
from torch import Tensor

# First: it makes torchvision, which timm imports, importable beside a CPU-only torch.
from dann_search.data.torchvision_shim import torchvision  # noqa: F401  isort: skip
import timm  # isort: skip
from timm.models._manipulate import group_with_matcher  # isort: skip

from dann_search.errors import InputError
from dann_search.models.backbone import Backbone
from dann_search.models.catalog import IMAGENET_MEAN, IMAGENET_STD, BackboneSpec


class TimmBackbone(Backbone):
    """A network of timm's without its head, divided as timm divides it for layer-wise rates."""

    def __init__(self, network: Any):
        groups = group_with_matcher(
            network.state_dict().items(), network.group_matcher(coarse=True), reverse=True
        )
        stages = _stage_names(len(set(groups.values())))
        super().__init__(stages, feature_size=_feature_size(network))
        self.network = network
        numbers = {group: number for number, group in enumerate(sorted(set(groups.values())))}
        self._stage_of = {name: numbers[group] for name, group in groups.items()}

    def stage_of(self, name: str) -> int:
        """As timm's own grouping says."""
        return self._stage_of[name.removeprefix("network.")]

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, side, side) to features (n, feature_size)."""
        features: Tensor = self.network(images)
        return features


def _stage_names(count: int) -> list[str]:
    return ["stem", *(f"stage{number}" for number in range(1, count))]


def _feature_size(network: Any) -> int:
    return int(getattr(network, "head_hidden_size", None) or network.num_features)


def describe(name: str) -> BackboneSpec:
    """Return the specification of ``timm/…``; the network is built without memory for weights.

    Raises:
        InputError: timm has no such network, or does not say how it divides into stages.
    """
    model = _model_name(name)
    with torch.device("meta"):
        network: Any = timm.create_model(model, pretrained=False, num_classes=0)
    try:
        stages = TimmBackbone(network).stage_names
    except (AttributeError, AssertionError):
        raise InputError(f"backbone {name}: timm does not divide it into stages") from None
    config = network.pretrained_cfg
    side = int(config["input_size"][-1])
    fixed = bool(config.get("fixed_input_size"))
    return BackboneSpec(
        name=name,
        stages=stages,
        image_size=side,
        smallest=side if fixed else 1,
        only_size=fixed,
        weights=name if config.get("hf_hub_id") or config.get("url") else "",
        mean=tuple(config.get("mean") or IMAGENET_MEAN),
        std=tuple(config.get("std") or IMAGENET_STD),
    )


def _model_name(name: str) -> str:
    model = name.removeprefix("timm/")
    if not timm.is_model(model.split(".")[0]):
        close = difflib.get_close_matches(model, timm.list_models(), n=1, cutoff=0.3)
        hint = f"; did you mean 'timm/{close[0]}'?" if close else ""
        raise InputError(f"unknown backbone '{name}'{hint}")
    return model


def build(name: str, state: dict[str, Tensor] | None) -> Backbone:
    """Timm's network, with weights of ``state`` or random ones.

    Raises:
        RuntimeError: the state is that of another network.
    """
    network: Any = timm.create_model(_model_name(name), pretrained=False, num_classes=0)
    if state is not None:
        heads = network.pretrained_cfg.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else tuple(heads)
        head = tuple(f"{name}." for name in heads)
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith(head)})
    return TimmBackbone(network)


def download(name: str) -> dict[str, Tensor]:
    """Timm's own weights, from its cache or the network they are published on."""
    network = timm.create_model(_model_name(name), pretrained=True, num_classes=0)
    state: dict[str, Tensor] = network.state_dict()
    return state
