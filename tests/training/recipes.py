"""Tiny trainings: random images in a real store, a few seconds an epoch at most."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dann_search.config.experiment import F1_MACRO, WeightsFile
from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.data.training_data import TrainingData
from dann_search.models.backbone import StagedBackbone
from dann_search.models.network import DannNetwork
from dann_search.training.hooks import Hooks
from dann_search.training.loop import train
from dann_search.training.ranks import ALONE, Ranks
from dann_search.training.result import EpochResult, History

SIDE = 16
TIMINGS = ("images_per_s", "seconds")


def recipe(**changes: Any) -> TrialConfig:
    """A recipe that trains in well under a second an epoch."""
    return TrialConfig.model_validate(
        {
            "backbone": "dann_cnn",
            "pretrained": False,
            "epochs": 3,
            "batch_size": 16,
            "bottleneck": 8,
            "discriminator_width": 8,
            "learning_rate": 0.02,
            "rotation_degrees": 10.0,
            "translation": 0.1,
            "horizontal_flip": 0.5,
        }
        | changes
    )


def tiny_data(seed: int = 0, source: int = 48, target: int = 40, val: int = 24) -> TrainingData:
    """Three classes told apart by brightness; the target's colours are inverted."""
    rng = np.random.default_rng(seed)

    def images(count: int, invert: bool) -> tuple[torch.Tensor, torch.Tensor]:
        labels = np.arange(count) % 3
        noise = rng.integers(0, 80, (count, 3, SIDE, SIDE))
        pixels = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
        return torch.from_numpy(255 - pixels if invert else pixels), torch.from_numpy(labels)

    source_images, source_labels = images(source, False)
    target_images, _ = images(target, True)
    val_images, val_labels = images(val, True)
    source_val = images(val - 3, False)
    info = StoreInfo(
        class_names=["dark", "middle", "bright"],
        image_size=SIDE,
        fixed_size=True,
        domains={"source": "plain", "target": "inverted"},
        sizes={},
        hashes={},
        duplicates=0,
    )
    return TrainingData(
        info, source_images, source_labels, target_images, val_images, val_labels, *source_val
    )


def run(
    config: TrialConfig,
    data: TrainingData,
    folder: Path,
    stop_after: int | None = None,
    *,
    ranks: Ranks = ALONE,
    objective: str = F1_MACRO,
    weights: Mapping[str, WeightsFile] | None = None,
    **hooks: Any,
) -> History:
    """Train in ``folder``, at most ``stop_after`` epochs; the history as last reported."""
    folder.mkdir(parents=True, exist_ok=True)
    history: History = ()
    options: dict[str, Any] = {"ranks": ranks, "objective": objective, "weights": weights}
    epochs = train(config, data, folder, hooks=Hooks(**hooks), **options)
    for history in epochs:
        if len(history) == stop_after:
            break
    epochs.close()  # type: ignore[attr-defined]
    return history


def metrics(history: tuple[EpochResult, ...]) -> list[dict[str, Any]]:
    """What two runs of one training must share to the last digit."""
    return [
        {name: value for name, value in asdict(epoch).items() if name not in TIMINGS}
        for epoch in history
    ]


def linear_network(method: str = "dann", classes: int = 3, **changes: Any) -> DannNetwork:
    """Features W x of images of one pixel, and the heads of a recipe, in double precision."""
    torch.manual_seed(0)
    backbone = StagedBackbone({"only": nn.Conv2d(3, 5, 1, bias=False)}, 5)
    return DannNetwork(backbone, classes, recipe(method=method, bottleneck=0, **changes)).double()


@contextmanager
def disturbed_torch() -> Iterator[None]:
    """Flags and generators as careless code leaves them."""
    torch.manual_seed(999)
    torch.rand(13)
    np.random.seed(1)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
