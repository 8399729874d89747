"""Epochs that begin after the frozen stages, on kept features, against epochs of whole networks.

    python benchmarks/frozen_features.py [--side 96] [--backbones resnet50,vgg16] [--depths 0,1,2]

Both sides train one recipe (``views: 1``, random weights, random images) in one process and take
turns, an epoch each. The first epoch of each is not counted: it warms up, and computes the
features. A step is the mean of an epoch's steps, without validation; an epoch is both.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dann_search.config.trial import TrialConfig
from dann_search.data.feature_folder import FeatureFolder
from dann_search.data.store import StoreInfo
from dann_search.data.training_data import TrainingData
from dann_search.models.registry import spec_of
from dann_search.training import frozen_stages
from dann_search.training.loop import train
from dann_search.training.result import History

CLASSES = 4
ROOM = 20 * 2**30


@dataclass(frozen=True)
class Ratios:
    """How much longer the whole network takes, in each round, and what the features take.

    Attributes:
        step, epoch: ratios of times, one a round.
        kilobytes: of an image's features.
        equal: whether both sides measured the same after every epoch.
    """

    step: list[float]
    epoch: list[float]
    kilobytes: float
    equal: bool


def random_data(side: int, images: int) -> TrainingData:
    """Return random images of both domains, a quarter as many for validation."""
    generator = torch.Generator().manual_seed(0)

    def of(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator)
        return pixels.to(torch.uint8), torch.arange(count) % CLASSES

    names = [f"class {number}" for number in range(CLASSES)]
    domains = {"source": "random", "target": "random"}
    info = StoreInfo(names, side, True, domains, sizes={}, hashes={}, duplicates=0)
    few = max(CLASSES, images // 4)
    return TrainingData(info, *of(images), of(images)[0], *of(few), *of(few))


def measure(
    backbone: str, depth: int, side: int, images: int, batch_size: int, rounds: int, folder: Path
) -> Ratios | None:
    """Train both sides in turns; None where the features are not kept."""
    config = TrialConfig(
        backbone=backbone,
        pretrained=False,
        unfrozen_depth=depth,
        views=1,
        batch_size=batch_size,
        epochs=rounds + 1,
    )
    cost = frozen_stages.are_kept(config, side, len(spec_of(backbone).stages))
    if cost is None:
        return None
    data = random_data(side, images)
    kept = replace(data, features=FeatureFolder(folder / "features", ROOM))
    mine, its = _epochs(config, kept, folder / "kept"), _epochs(config, data, folder / "whole")
    pairs = [(next(mine), next(_never_kept(its)))]
    pairs += list(zip(mine, its, strict=True))
    last = [(mine[-1], its[-1]) for mine, its in pairs[1:]]
    return Ratios(
        step=[mine.images_per_s / its.images_per_s for mine, its in last],
        epoch=[its.seconds / mine.seconds for mine, its in last],
        kilobytes=4 * cost.numbers / 1000,
        equal=all(mine[-1].label_loss == its[-1].label_loss for mine, its in pairs),
    )


def _epochs(config: TrialConfig, data: TrainingData, folder: Path) -> Iterator[History]:
    folder.mkdir()
    return train(config, data, folder)


def _never_kept(epochs: Iterator[History]) -> Iterator[History]:
    """Yield the first epoch of a training that is to run whole networks."""
    worth, frozen_stages.WORTH = frozen_stages.WORTH, 2**62
    try:
        yield next(epochs)
    finally:
        frozen_stages.WORTH = worth


def _row(name: str, depth: int, found: Ratios) -> str:
    def spread(ratios: list[float]) -> str:
        return f"{statistics.median(ratios):.3g} | {min(ratios):.3g} | {max(ratios):.3g}"

    return f"| {name} | {depth} | {found.kilobytes:.0f} kB | {spread(found.step)} | " + (
        f"{statistics.median(found.epoch):.3g} | {'yes' if found.equal else 'no'} |"
    )


def main() -> None:
    """Measure each backbone and depth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--backbones", default="resnet50,vgg16,inception_v3,timm/efficientnet_lite0"
    )
    parser.add_argument("--depths", default="0,1,2")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| backbone | depth | an image | step: median | least | most | epoch | equal losses |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.backbones.split(","):
        for depth in map(int, arguments.depths.split(",")):
            sizes = (arguments.side, arguments.images, arguments.batch_size, arguments.rounds)
            with tempfile.TemporaryDirectory() as folder:
                found = measure(name, depth, *sizes, Path(folder))
            print(_row(name, depth, found) if found else f"| {name} | {depth} | not kept |")


if __name__ == "__main__":
    main()
