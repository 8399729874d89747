"""A whole DANN epoch from JPEG files, against the field's recipe around pytorch-adapt's DANN.

    pip install -e '.[timm,benchmarks]'
    python benchmarks/jpeg_epoch.py --data FOLDER [--networks squeezenet1_1,resnet18] [--sides 96]

FOLDER holds office_caltech_10.tar: amazon is the source, webcam the target. The field's recipe: two
ImageFolders with RandomResizedCrop and a flip, two loader processes, fp32, pytorch-adapt's DANNHook
and one ``.item()`` a step. Ours: the training loop of a trial on the packed images, with the same
crops, flips, batches, steps and networks; its validation is not counted, as the other has none.
Packing happens once and is printed beside. Rounds alternate; the first one warms up.
"""

import argparse
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dann_search.config.data import DataConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.store import pack
from dann_search.data.training_data import open_training_data
from dann_search.models.build import build_network
from dann_search.models.registry import spec_of
from dann_search.training.loop import Training

# First: the data sets come with torchvision.
from dann_search.data.torchvision_shim import torchvision  # isort: skip

SOURCE, TARGET = "amazon", "webcam"
BATCH = 16
SCALE = 0.5
"""Smallest share of an image's area that a random crop keeps."""

Epoch = Callable[[], float]
"""Trains an epoch, and returns its seconds."""


def recipe(network: str) -> TrialConfig:
    """Return the recipe of both: plain DANN, every weight trained."""
    return TrialConfig.model_validate({
        "method": "dann", "backbone": network, "pretrained": False, "unfrozen_depth": None,
        "batch_size": BATCH, "epochs": 1000, "learning_rate": 1e-4, "batch_norm": "separate",
        "horizontal_flip": 0.5, "crop_scale": SCALE,
    })  # fmt: skip


def ours(config: TrialConfig, store: Path, scratch: Path) -> tuple[Epoch, int]:
    """Return an epoch of a trial, and its steps."""
    training = Training(config, open_training_data(store), scratch, torch.device("cpu"))

    def epoch() -> float:
        for _ in training.train_epoch(len(training.history) + 1):
            pass
        return training.batches.steps * training.batches.images / training.history[-1].images_per_s

    return epoch, training.batches.steps


def loader(root: Path, side: int, spec: Any) -> DataLoader[tuple[Tensor, Tensor]]:
    """Decode and augment the images of a domain in two processes, as tutorials do."""
    transforms = torchvision.transforms
    steps = [
        transforms.RandomResizedCrop(side, scale=(SCALE, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(spec.mean, spec.std),
    ]
    images = torchvision.datasets.ImageFolder(root, transforms.Compose(steps))
    return DataLoader(
        images, BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )


def theirs(config: TrialConfig, root: Path, side: int, steps: int) -> Epoch:
    """Return an epoch of pytorch-adapt's DANN on image folders, in as many steps."""
    from pytorch_adapt.hooks import DANNHook
    from pytorch_adapt.models import Discriminator

    spec = spec_of(config.backbone)
    plain = config.model_copy(update={"method": "source_only"})
    network = build_network(plain, 10, side=side).train()
    parts = {
        "G": nn.Sequential(network.backbone, network.bottleneck),
        "C": network.classifier,
        "D": Discriminator(in_size=network.classifier.in_features),
    }
    weights = list(chain.from_iterable(part.parameters() for part in parts.values()))
    hook = DANNHook([torch.optim.SGD(weights, lr=config.learning_rate, momentum=config.momentum)])
    loaders = [loader(root / domain, side, spec) for domain in (SOURCE, TARGET)]

    def endless(batches: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        return chain.from_iterable(repeat(batches))

    def epoch() -> float:
        begun, losses = time.perf_counter(), 0.0
        pairs = zip(endless(loaders[0]), endless(loaders[1]), strict=False)
        for _, ((images, labels), (others, _)) in zip(range(steps), pairs, strict=False):
            batch = {
                "src_imgs": images, "src_labels": labels, "src_domain": torch.zeros(len(images)),
                "target_imgs": others, "target_domain": torch.ones(len(others)),
            }  # fmt: skip
            _, told = hook({**parts, **batch})
            losses += float(told["total_loss"]["total"])  # waits for the step, as .item() does
        return time.perf_counter() - begun

    return epoch


def measure(name: str, side: int, root: Path, rounds: int, folder: Path) -> str:
    """Return a table row: seconds of both, and the ratio with its spread."""
    config = recipe(name)
    data = DataConfig.model_validate(
        {
            "source": {"folder": root / SOURCE},
            "target": {"folder": root / TARGET},
            "splits": {"train": 0.8, "val": 0.1, "test": 0.1},
        }
    )
    store = folder / f"store-{side}"
    begun = time.perf_counter()
    if not store.exists():
        pack(data, side, store)
    packing = time.perf_counter() - begun
    mine, steps = ours(config, store, folder)
    other = theirs(config, root, side, steps)
    seconds = [(mine(), other()) for _ in range(rounds + 1)][1:]
    ratios = [there / here for here, there in seconds]
    here, there = (statistics.median(one) for one in zip(*seconds, strict=True))
    return (
        f"| {name} | {side} | {here:.1f} | {there:.1f} | {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}) | {packing:.1f} |"
    )


def main() -> None:
    """Measure small and large networks at several sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", default="squeezenet1_1,mobilenet_v3_small,resnet18,resnet50")
    parser.add_argument("--sides", default="96,160,224")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    print("| network | side | ours, s | the field's, s | ratio (min to max) | packing once, s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(arguments.data / "office_caltech_10.tar") as tar:
            tar.extractall(folder, filter="data")
        for side in map(int, arguments.sides.split(",")):
            for network in arguments.networks.split(","):
                row = measure(network, side, folder / "office_caltech_10", arguments.rounds, folder)
                print(row, flush=True)


if __name__ == "__main__":
    main()
