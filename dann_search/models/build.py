"""From a trial's configuration to its network, the same for the same seed."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from dann_search.config.experiment import WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.models.backbone import BATCH_NORM, Backbone
from dann_search.models.catalog import DANN_NETWORKS
from dann_search.models.lora import add_adapters
from dann_search.models.network import DannNetwork
from dann_search.models.registry import TIMM, registered, spec_of
from dann_search.models.weights import load_weights


def uses_pretrained(config: TrialConfig, files: Mapping[str, WeightsFile]) -> bool:
    """Whether the configuration asks for pre-trained weights and its backbone has any."""
    return (
        config.pretrained
        and config.fine_tunes
        and (config.backbone in files or bool(spec_of(config.backbone).weights))
    )


def build_network(
    config: TrialConfig,
    classes: int,
    files: Mapping[str, WeightsFile] | None = None,
    *,
    side: int | None = None,
    bare: bool = False,
) -> DannNetwork:
    """Build the network, freeze what is below its unfrozen depth.

    Args:
        config: the recipe; its seed determines every random weight.
        classes: number of classes.
        files: explicit weight files by backbone.
        side: pixels at which it sees images; the backbone's native ones if None. Patch
            transformers are built for one side.
        bare: random weights throughout, for a caller that loads a whole state.

    Raises:
        InputError: the pre-trained weights cannot be had, or are those of another network.
    """
    torch.manual_seed(config.seed)
    state: dict[str, Tensor] | None = None
    files = files or {}
    if not bare and uses_pretrained(config, files):
        state = load_weights(config.backbone, files)
    try:
        backbone = build_backbone(config.backbone, state, side)
    except RuntimeError as exc:
        if state is None:
            raise
        given = files.get(config.backbone)
        file = given.file if given else "the weights file in torch's cache"
        problem = " ".join(str(exc).split())[:200]
        raise InputError(f"{file}: not weights of {config.backbone}: {problem}") from None
    # Heads come after a fresh seed: the same whether or not the backbone drew random numbers.
    torch.manual_seed(config.seed + 1)
    network = DannNetwork(backbone, classes, config)
    # Random weights are worth training, all of them, where nothing else was asked for by name.
    backbone.freeze_below(config.unfrozen_depth if config.fine_tunes else None)
    if config.fine_tunes and config.fine_tuning == "lora":
        add_adapters(backbone, config.lora_rank)
    return network


@cache
def batch_norm_stages(backbone: str) -> frozenset[int]:
    """Return the stages of a backbone, from 0, that have batch norm."""
    with torch.random.fork_rng(devices=[]):
        network = build_backbone(backbone, None)
    return frozenset(
        network.stage_of(f"{name}.running_mean")
        for name, module in network.named_modules()
        if isinstance(module, BATCH_NORM) and module.running_mean is not None
    )


def build_backbone(name: str, state: dict[str, Tensor] | None, side: int | None = None) -> Backbone:
    """Build a backbone from weights, or with random ones; anyone's, by its name.

    ``side`` is that of its images in pixels, which matters for patch transformers of timm.
    """
    if name in DANN_NETWORKS:
        from dann_search.models import dann_cnn

        return dann_cnn.build(name, state)
    if (build := registered(name)) is not None:
        own: Backbone = build(state)
        return own
    if name.startswith(TIMM):
        from dann_search.models import timm_models

        return timm_models.build(name, state, side)
    from dann_search.models import torchvision_models

    return torchvision_models.build(name, state)
