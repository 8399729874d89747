"""From a trial's configuration to its network, the same for the same seed."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models.backbone import Backbone
from dann_search.models.catalog import CATALOG
from dann_search.models.network import DannNetwork
from dann_search.models.weights import load_weights


def uses_pretrained(config: TrialConfig) -> bool:
    """Whether the configuration asks for pre-trained weights and its backbone has any."""
    return (
        config.pretrained
        and config.method != "from_scratch"
        and bool(CATALOG[config.backbone].weights)
    )


def build_network(
    config: TrialConfig,
    classes: int,
    files: Mapping[str, Path] | None = None,
    *,
    bare: bool = False,
) -> DannNetwork:
    """Build the network, freeze what is below its unfrozen depth.

    Args:
        config: the recipe; its seed determines every random weight.
        classes: number of classes.
        files: explicit weight files by backbone.
        bare: random weights throughout, for a caller that loads a whole state.

    Raises:
        InputError: the pre-trained weights cannot be had, or are those of another network.
    """
    torch.manual_seed(config.seed)
    state: dict[str, Tensor] | None = None
    if not bare and uses_pretrained(config):
        state = load_weights(config.backbone, files or {})
    try:
        backbone = _build_backbone(config.backbone, state)
    except RuntimeError as exc:
        if state is None:
            raise
        file = (files or {}).get(config.backbone, "the weights file in torch's cache")
        problem = " ".join(str(exc).split())[:200]
        raise InputError(f"{file}: not weights of {config.backbone}: {problem}") from None
    # Heads come after a fresh seed: the same whether or not the backbone drew random numbers.
    torch.manual_seed(config.seed + 1)
    network = DannNetwork(backbone, classes, config)
    backbone.freeze_below(config.unfrozen_depth)
    return network


def _build_backbone(name: str, state: dict[str, Tensor] | None) -> Backbone:
    if name == "dann_cnn":
        from dann_search.models import dann_cnn

        return dann_cnn.build()
    from dann_search.models import torchvision_models

    return torchvision_models.build(name, state)
