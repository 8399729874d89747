"""An epoch's images from the packed store, against torchvision's ImageFolder and DataLoader.

    python benchmarks/data_path.py --data FOLDER [--sides 96,224] [--batch 32]

FOLDER holds office_caltech_10.tar. Both give the same batches of the same JPEGs: short side scaled,
centre cropped, flipped at random, normalized, as float tensors. The store decodes once; what that
costs is printed beside, and after how many epochs it has paid. The DataLoader runs with no and with
two workers, and its better half counts. Everything is bound to the machine's cores.
"""

import argparse
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dann_search.config.data import DataConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.augment import prepare
from dann_search.data.batches import paired_batches
from dann_search.data.store import pack
from dann_search.data.training_data import open_training_data

# First: the data sets come with torchvision.
from dann_search.data.torchvision_shim import torchvision  # isort: skip

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def from_store(store: Path, batch: int, epoch: int) -> Iterator[Tensor]:
    """Source batches of one epoch as training makes them."""
    data = open_training_data(store)
    images, config = data.source_images, TrialConfig.model_validate({"horizontal_flip": 0.5})
    generator = torch.Generator().manual_seed(epoch)
    for rows, _ in paired_batches(len(images), 1, batch, 0, epoch):
        pixels = images.index_select(0, rows)
        yield prepare(pixels, images.shape[-1], MEAN, STD, config, generator)


def image_folder(root: Path, side: int) -> torch.utils.data.Dataset[tuple[Tensor, int]]:
    """Decode the same images each time."""
    transforms = torchvision.transforms
    dataset: torch.utils.data.Dataset[tuple[Tensor, int]] = torchvision.datasets.ImageFolder(
        root,
        transforms.Compose(
            [
                transforms.Resize(side),
                transforms.CenterCrop(side),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        ),
    )
    return dataset


def rate(batches: Iterator[Tensor]) -> float:
    """Images a second."""
    begun, images = time.perf_counter(), 0
    for batch in batches:
        images += len(batch)
    return images / (time.perf_counter() - begun)


def measure(root: Path, domain: str, side: int, batch: int, rounds: int, scratch: Path) -> str:
    """One domain: images a second of each, the ratio, what packing costs."""
    config = DataConfig.model_validate(
        {
            "source": {"folder": root / domain},
            "target": {"folder": root / "dslr"},
            "splits": {"train": 0.8, "val": 0.1, "test": 0.1},
        }
    )
    begun = time.perf_counter()
    info = pack(config, side, scratch)
    packing = time.perf_counter() - begun
    images = sum(sum(splits.values()) for splits in info.sizes.values())
    dataset = image_folder(root / domain, side)
    loaders = {
        f"ImageFolder, {workers} workers": DataLoader(
            dataset, batch, shuffle=True, num_workers=workers, drop_last=True,
            persistent_workers=workers > 0,
        )
        for workers in (0, 2)
    }  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name in ("store", *loaders)}
    for number in range(rounds + 1):
        measured = {
            "store": rate(from_store(scratch, batch, number)),
            **{name: rate(x for x, _ in loader) for name, loader in loaders.items()},
        }
        if number:  # the first round warms caches and starts workers
            for name, value in measured.items():
                rates[name].append(value)
    best = max(loaders, key=lambda name: statistics.median(rates[name]))
    ratios = [mine / other for mine, other in zip(rates["store"], rates[best], strict=True)]
    saved = 1 / statistics.median(rates[best]) - 1 / statistics.median(rates["store"])
    return "\n".join(
        [
            f"{domain}, {side} px, batches of {batch}, {rounds} rounds",
            *(f"  {name:24} {statistics.median(v):7.0f} images/s" for name, v in rates.items()),
            f"  store / {best}: {statistics.median(ratios):.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f})",
            f"  packing {images} images: {packing:.1f} s, paid back after "
            f"{packing / images / saved:.1f} epochs",
        ]
    )


def main() -> None:
    """Measure the domain of the smallest and one of larger photographs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sides", default="96,224")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(arguments.data / "office_caltech_10.tar") as tar:
            tar.extractall(folder, filter="data")
        root = folder / "office_caltech_10"
        for side in map(int, arguments.sides.split(",")):
            for domain in ("amazon", "webcam"):
                scratch = folder / f"{domain}-{side}"
                print(
                    measure(root, domain, side, arguments.batch, arguments.rounds, scratch),
                    flush=True,
                )


if __name__ == "__main__":
    main()
