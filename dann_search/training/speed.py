"""How long a recipe's steps take on this machine: some of the loop's own, on images of zeros."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.feature_folder import FeatureFolder
from dann_search.data.store import StoreInfo
from dann_search.data.training_data import TrainingData
from dann_search.models.build import build_network
from dann_search.models.network import DannNetwork
from dann_search.models.registry import registered, spec_of
from dann_search.training.epoch_steps import Batches
from dann_search.training.frozen_stages import AT_ONCE
from dann_search.training.loop import Training
from dann_search.training.predict import predict_logits
from dann_search.training.threads import with_threads

FEW = 4
"""Images a domain of the first steps, from which it is known how many fit the time."""
SLOW = 4
"""Times the seconds wanted, after which one step has to do."""
STEPS = 200
"""Most steps that are timed."""


@dataclass(frozen=True)
class Speed:
    """Seconds on one worker.

    Attributes:
        step: of a training step of a whole batch.
        image: of an image's validation.
        frozen: of what frozen stages make of an image, where it is kept; 0 where it is not.
    """

    step: float
    image: float
    frozen: float = 0.0


@dataclass(frozen=True)
class _OneForAll(FeatureFolder):
    """Features of one image, given for all: images of zeros are alike. Nothing is written.

    Attributes:
        clock: that tells the seconds.
        took: seconds an image of each time that features were computed.
    """

    clock: Callable[[], float]
    took: list[float] = field(default_factory=list)

    def of(
        self,
        key: str,
        count: int,
        dtype: torch.dtype,
        compute: Callable[[], Iterator[Tensor]],
        beat: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Compute them for the first image."""
        begun = self.clock()
        first = next(compute())[:1]
        self.took.append((self.clock() - begun) / AT_ONCE)  # fewer take as long
        return first.expand(count, *first.shape[1:])


def measured(
    config: TrialConfig,
    info: StoreInfo,
    seconds: float,
    threads: int,
    device: torch.device,
    keeps_features: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Train steps of a recipe for about ``seconds`` by a clock, and validate a few images.

    A batch that takes longer is cut, and its time scaled up. At least one step is trained. The
    recipe's batch size is that of one worker, who has so many ``threads``. Where there is room for
    what frozen stages make of images, it is computed once in a search and not part of a step.
    """
    # Stages are unfrozen by the last epoch; pseudo labels are no matter of steps.
    config = config.model_copy(update={"pseudo_labels": 0.0, "ema_decay": 0.0})
    side = info.side_seen(spec_of(config.backbone).image_size)

    with with_threads(threads):
        network = _blank(config, info, side).to(device)
        rows = min(config.batch_size, FEW)
        features = _OneForAll(Path(), sys.maxsize, clock) if keeps_features else None
        data = _data(info, rows, features)
        step, batches = _timed(config, data, network, rows, seconds / 4, clock)
        if rows < config.batch_size and step < seconds:
            rows = min(config.batch_size, max(rows, int(rows * seconds / (2 * step))))
            data = _data(info, rows, features)
            step, batches = _timed(config, data, network, rows, seconds, clock)
        images = batches.seen("target", "train")
        begun = clock()
        predict_logits(network, images, rows=torch.arange(rows))
        each = (clock() - begun) / rows
    took = features.took if features else []
    return Speed(step * config.batch_size / rows, each, min(took, default=0.0))


def _timed(
    config: TrialConfig,
    data: TrainingData,
    network: DannNetwork,
    rows: int,
    seconds: float,
    clock: Callable[[], float],
) -> tuple[float, Batches]:
    """Return the median seconds of steps of so many images, but the first, and their batches."""
    config = config.model_copy(update={"batch_size": rows})
    device = next(network.parameters()).device
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        training = Training(config, data, Path(folder), device=device, network=network)
        begun = before = clock()
        for _ in training.train_epoch(config.epochs):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            now = clock()
            times.append(now - before)
            before = now
            if len(times) == 1 and training.batches.frozen:
                begun = now  # it computed what frozen stages make of images: a search does it once
                continue
            spent = now - begun
            fewest = 1 if spent >= SLOW * seconds else 3
            if len(times) >= STEPS or (spent >= seconds and len(times) >= fewest):
                break
    return statistics.median(times[1:] or times), training.batches


def _blank(config: TrialConfig, info: StoreInfo, side: int) -> DannNetwork:
    """Build a network with weights of zero: random ones take seconds, and steps as long."""
    if registered(config.backbone):  # a user's own code may know no meta device
        return build_network(config, len(info.class_names), side=side, bare=True)
    with torch.device("meta"):
        network = build_network(config, len(info.class_names), side=side, bare=True)
    network = network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.zero_()
    return network


def _zeros(info: StoreInfo, count: int) -> Tensor:
    return torch.zeros(1, 3, *[info.image_size] * 2, dtype=torch.uint8).expand(count, -1, -1, -1)


def _data(info: StoreInfo, rows: int, features: FeatureFolder | None) -> TrainingData:
    """Return images for all steps, which take no memory, whatever their number."""
    count = rows * (STEPS + 1)
    images, labels = _zeros(info, count), torch.zeros(count, dtype=torch.long)
    few = images[:1], labels[:1]
    return TrainingData(info, images, labels, images, *few, *few, features=features)
