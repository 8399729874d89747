"""How long a recipe's steps take on this machine: some of the loop's own, on images of zeros."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.data.training_data import TrainingData
from dann_search.models.build import build_network
from dann_search.models.network import DannNetwork
from dann_search.models.registry import registered, spec_of
from dann_search.training.loop import Training
from dann_search.training.predict import predict_logits

FEW = 4
"""Images a domain of the first steps, from which it is known how many fit the time."""
SLOW = 4
"""Times the seconds wanted, after which one step has to do."""
STEPS = 200
"""Most steps that are timed."""


@dataclass(frozen=True)
class Speed:
    """Seconds on one worker: of a training step of a whole batch, of an image's validation."""

    step: float
    image: float


class _Enough(Exception):
    """The time is up."""


def measured(
    config: TrialConfig, info: StoreInfo, seconds: float, threads: int, device: torch.device
) -> Speed:
    """Train steps of a recipe for about ``seconds``, and validate a few images.

    A batch that takes longer is cut, and its time scaled up. At least one step is trained.

    Args:
        config: the recipe; its batch size is that of one worker.
        info: gives the side of the images and the number of classes.
        seconds: to spend on steps.
        threads: of a worker.
        device: that trains.
    """
    # Stages are unfrozen by the last epoch; pseudo labels are no matter of steps.
    config = config.model_copy(update={"pseudo_labels": 0.0, "ema_decay": 0.0})
    side = info.side_seen(spec_of(config.backbone).image_size)
    with _threads(threads):
        network = _blank(config, info, side).to(device)
        rows = min(config.batch_size, FEW)
        step = _timed(config, info, network, rows, seconds / 4)
        if rows < config.batch_size and step < seconds:
            rows = min(config.batch_size, max(rows, int(rows * seconds / (2 * step))))
            step = _timed(config, info, network, rows, seconds)
        images, begun = _zeros(info, rows), time.perf_counter()
        predict_logits(network, images, spec_of(config.backbone), side, device)
        each = (time.perf_counter() - begun) / rows
    return Speed(step * config.batch_size / rows, each)


def _timed(
    config: TrialConfig, info: StoreInfo, network: DannNetwork, rows: int, seconds: float
) -> float:
    """Return the median seconds of steps of so many images, without the first, which sets up."""
    config = config.model_copy(update={"batch_size": rows})
    device = next(network.parameters()).device
    begun = before = time.perf_counter()
    times: list[float] = []

    def beat() -> None:
        nonlocal before
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        times.append(now - before)
        before = now
        spent = now - begun
        fewest = 1 if spent >= SLOW * seconds else 3
        if len(times) >= STEPS or (spent >= seconds and len(times) >= fewest):
            raise _Enough

    with tempfile.TemporaryDirectory() as folder:
        data = _data(info, rows * (STEPS + 1))
        training = Training(config, data, Path(folder), device, network=network)
        begun = before = time.perf_counter()
        with suppress(_Enough):
            for _ in training.train_epoch(config.epochs, beat):
                pass
    return statistics.median(times[1:] or times)


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


def _data(info: StoreInfo, count: int) -> TrainingData:
    """Return images that take no memory, whatever their number."""
    images, labels = _zeros(info, count), torch.zeros(count, dtype=torch.long)
    few = images[:1], labels[:1]
    return TrainingData(info, images, labels, images, *few, *few)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
