"""Models of any backbone without a search: random weights, a record as ``best`` writes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dann_search.config.trial import TrialConfig
from dann_search.inference.best import weights_of
from dann_search.inference.model import DannModel
from dann_search.inference.model_files import FORMAT, write_model
from dann_search.models.build import build_network
from dann_search.models.registry import spec_of

SPLITS = {"train": 9, "val": 3, "test": 3}


def random_model(
    backbone: str, *, side: int, bottleneck: int = 8, stored: int | None = None
) -> DannModel:
    """Of four classes; batch norms have statistics that are not those they begin with."""
    config = TrialConfig(
        backbone=backbone, method="source_only", pretrained=False, bottleneck=bottleneck
    )
    network = build_network(config, 4, side=side)
    generator = torch.Generator().manual_seed(1)
    for name, value in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return DannModel(network, _record(config, side, stored or side))


def make_sensitive(model: DannModel, files: Sequence[Path]) -> None:
    """Let probabilities depend on the images; those of random weights hardly do."""
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    with torch.no_grad():
        model.train()(model.batch(files))
        model.network.get_parameter("classifier.weight").mul_(20)
    model.eval()


def write_random_model(
    folder: Path, backbone: str, *, side: int, bottleneck: int = 8, stored: int | None = None
) -> Path:
    """A random model's folder."""
    model = random_model(backbone, side=side, bottleneck=bottleneck, stored=stored)
    write_model(folder, weights_of(model.network), model.record)
    return folder


def _record(config: TrialConfig, side: int, stored: int) -> dict[str, Any]:
    spec = spec_of(config.backbone)
    return {
        "format": FORMAT,
        "experiment": "random",
        "trial": 0,
        "epoch": 1,
        "class_names": ["bike", "mug", "lamp", "desk"],
        "preprocessing": {
            "stored_size": stored,
            "image_size": side,
            "grey_bits": None,
            "transparency": "white",
            "resize": "as best says",
            "scale": "1/255",
            "mean": list(spec.mean),
            "std": list(spec.std),
        },
        "temperature": 1.5,
        "backbone": config.backbone,
        "config": config.model_dump(mode="json"),
        "searched": {},
        "validation": {
            f"{name}_val": 0.5
            for name in ("f1_macro", "accuracy", "precision_macro", "recall_macro")
        },
        "validators": {},
        "objective": "f1_macro",
        "chosen_by": {"objective": "f1_macro", "value": 0.5},
        "validation_ci95": {},
        "seeds": {"training": 0, "splits": 0},
        "domains": {"source": "drawings", "target": "photographs"},
        "data": {
            "sizes": {"source": SPLITS, "target": SPLITS},
            "hashes": {role: dict.fromkeys(SPLITS, "0" * 64) for role in ("source", "target")},
        },
        "versions": {"dann-search": "0"},
    }
