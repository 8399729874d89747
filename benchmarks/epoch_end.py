"""What follows on a step and on an epoch: the optimizer, label-free scores, the checkpoint.

    python benchmarks/epoch_end.py [--backbones dann_cnn,resnet50] [--rounds 5]

An epoch's end: two trainings of one recipe in turn. One makes scores and checkpoint in a thread
while the next epoch begins, as trials do; the other waits for both. What is printed is how long
training stands still at the end of an epoch, and the time of whole trainings. The optimizer: fused,
as trials have it, and torch's default, on the same gradients.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from epoch_cost import random_data

from dann_search.config.trial import TrialConfig
from dann_search.data.training_data import TrainingData
from dann_search.training.loop import Training, train

EPOCHS, SIDE = 4, 96


def recipe(backbone: str, optimizer: str = "sgd") -> TrialConfig:
    """A short training of the whole network."""
    return TrialConfig.model_validate({
        "backbone": backbone, "pretrained": False, "batch_size": 8, "epochs": EPOCHS,
        "learning_rate": 1e-5, "optimizer": optimizer,
    })  # fmt: skip


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of the clock and of the processor."""
    begun, used = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - begun, time.process_time() - used


def go_on(config: TrialConfig, data: TrainingData) -> None:
    """Train as trials do."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in train(config, data, Path(folder)):
            pass


def wait(config: TrialConfig, data: TrainingData, still: list[tuple[float, float]]) -> None:
    """Train, waiting for scores and checkpoint; note the seconds of the copy and of the rest."""
    with tempfile.TemporaryDirectory() as folder:
        training = Training(config, data, Path(folder), torch.device("cpu"))
        for epoch in range(1, EPOCHS + 1):
            for _ in training.train_epoch(epoch):
                pass
            begun = time.perf_counter()
            write = training.snapshot()
            copied = time.perf_counter()
            write()
            still.append((copied - begun, time.perf_counter() - copied))


def epoch_ends(backbone: str, rounds: int) -> str:
    """Return a row: seconds of standstill, and the ratio of whole trainings."""
    config, data = recipe(backbone), random_data(SIDE)
    clock, processor = [], []
    still: list[tuple[float, float]] = []
    go_on(config, data)  # the first pays for imports, memory and kernels
    for _ in range(rounds):
        mine = timed(lambda: go_on(config, data))
        theirs = timed(lambda: wait(config, data, still))
        clock.append(mine[0] / theirs[0])
        processor.append(mine[1] / theirs[1])
    copy, rest = (statistics.median(part) for part in zip(*still, strict=True))
    return (
        f"| {backbone} | {copy + rest:.3f} | {copy:.3f} | {statistics.median(clock):.2f} "
        f"| {min(clock):.2f} to {max(clock):.2f} | {statistics.median(processor):.2f} |"
    )


def optimizer_steps(backbone: str, name: str, rounds: int) -> str:
    """Return a row: processor milliseconds of a step, fused and not, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        config = recipe(backbone, name)
        training = Training(config, random_data(SIDE), Path(folder), torch.device("cpu"))
    fused = training.optimizer.torch
    for parameter in training.optimizer.parameters:
        parameter.grad = torch.randn_like(parameter)
    groups = [{**group, "fused": None} for group in fused.param_groups]
    default = type(fused)(groups)
    pairs = [(timed(fused.step)[1], timed(default.step)[1]) for _ in range(rounds + 1)][1:]
    ratios = [mine / theirs for mine, theirs in pairs]
    mine, theirs = (1000 * statistics.median(part) for part in zip(*pairs, strict=True))
    return (
        f"| {backbone} | {name} | {theirs:.1f} | {mine:.1f} | {statistics.median(ratios):.2f} "
        f"| {min(ratios):.2f} to {max(ratios):.2f} |"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", default="dann_cnn,resnet50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    backbones = arguments.backbones.split(",")
    print("| backbone | standstill waiting, s | continuing, s | training / waiting | range | CPU |")
    print("|---|---|---|---|---|---|")
    for backbone in backbones:
        print(epoch_ends(backbone, arguments.rounds), flush=True)
    print("\n| backbone | optimizer | default, ms | fused, ms | fused / default | range |")
    print("|---|---|---|---|---|---|")
    for backbone in backbones:
        for name in ("sgd", "adamw"):
            print(optimizer_steps(backbone, name, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
