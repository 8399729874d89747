"""What an epoch costs at each unfrozen depth, against full fine-tuning, or under each batch norm.

    python benchmarks/epoch_cost.py [--backbones resnet18,squeezenet1_1,timm/efficientnet_lite0]
        [--of batch_norm]

A frozen stage should cost its forward pass and nothing else: no autograd, no batch-norm updates, no
optimizer state. Each round trains a DANN epoch at every depth in turn, through the loop that trials
are trained by, on random images; what is printed is the ratio to the same round's full depth. Batch
norms are compared in the same way, with ``separate``.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from dann_search.config.trial import TrialConfig
from dann_search.data.store import StoreInfo
from dann_search.data.training_data import TrainingData
from dann_search.models.registry import spec_of
from dann_search.training.loop import Training

BATCH, STEPS, CLASSES = 16, 3, 10


def random_data(side: int) -> TrainingData:
    """Images for so many steps an epoch; a few to validate, which costs the same at all depths."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator)
        return pixels.to(torch.uint8), torch.arange(count) % CLASSES

    info = StoreInfo(
        class_names=[str(number) for number in range(CLASSES)],
        image_size=side,
        fixed_size=True,
        domains={},
        sizes={},
        hashes={},
        duplicates=0,
    )
    source, labels = images(BATCH * STEPS)
    target, _ = images(BATCH * STEPS)
    return TrainingData(info, source, labels, target, *images(4), *images(4))


def values_of(field: str, backbone: str) -> list[int | str]:
    """What is compared, at the end what with."""
    if field == "batch_norm":
        return ["frozen", "joint", "domain", "separate"]
    return list(range(len(spec_of(backbone).stages) + 1))


def trainings_of(backbone: str, field: str, data: TrainingData) -> dict[int | str, Training]:
    """One training a value; none is saved."""
    return {
        value: Training(
            TrialConfig.model_validate({
                "backbone": backbone, "pretrained": False, field: value, "batch_size": BATCH,
                "epochs": 1000, "learning_rate": 1e-5,
            }),
            data,
            Path(tempfile.gettempdir()) / "never-written",
            torch.device("cpu"),
        )
        for value in values_of(field, backbone)
    }  # fmt: skip


def training_seconds(training: Training) -> float:
    """Of one more epoch, validation left out."""
    for _ in training.train_epoch(len(training.history) + 1):
        pass
    last = training.history[-1]
    return 2 * BATCH * STEPS / last.images_per_s


def measure(backbone: str, field: str, side: int, rounds: int) -> str:
    """Print the cost of an epoch with each value as a share of that with the last."""
    trainings = trainings_of(backbone, field, random_data(side))
    whole = list(trainings)[-1]
    for training in trainings.values():
        training_seconds(training)  # the first epoch pays for memory and kernels
    seconds: dict[int | str, list[float]] = {value: [] for value in trainings}
    for _ in range(rounds):
        for value, training in trainings.items():
            seconds[value].append(training_seconds(training))
    lines = [
        f"{backbone}, {side} px, {rounds} rounds, {field} {whole} "
        f"{statistics.median(seconds[whole]) / STEPS:.2f} s a step of {BATCH} + {BATCH} images",
        "",
        f"| {field} | trained parameters | epoch / that of {whole} | smallest | largest |",
        "|---|---|---|---|---|",
    ]
    for value, training in trainings.items():
        trained = sum(p.numel() for p in training.optimizer.parameters)
        ratios = [mine / its for mine, its in zip(seconds[value], seconds[whole], strict=True)]
        lines.append(
            f"| {value} | {trained:,} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} | {max(ratios):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure each backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", default="resnet18,squeezenet1_1,timm/efficientnet_lite0")
    parser.add_argument("--of", choices=("unfrozen_depth", "batch_norm"), default="unfrozen_depth")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for backbone in arguments.backbones.split(","):
        print(
            measure(backbone, arguments.of, arguments.side, arguments.rounds),
            end="\n\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
