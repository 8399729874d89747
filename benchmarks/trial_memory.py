"""Peak memory of a worker: the estimate that plans slots, against steps that are made.

    python benchmarks/trial_memory.py [--only resnet50] [--steps 3]

Each case runs in a fresh process: two or three training steps with random weights, then a batch of
validation. Measured is the most that its resident set has ever been (``VmHWM``).
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

CASES: list[tuple[str, int, int, int | None, str]] = [
    ("mobilenet_v3_small", 96, 8, None, "fp32"),
    ("mobilenet_v3_small", 160, 32, None, "fp32"),
    ("mobilenet_v3_small", 224, 16, 3, "fp32"),
    ("mobilenet_v3_small", 160, 16, None, "bf16"),
    ("mobilenet_v3_small", 224, 32, 0, "fp32"),
    ("mobilenet_v3_small", 224, 32, None, "fp32"),
    ("timm/efficientnet_lite0", 96, 32, None, "fp32"),
    ("timm/efficientnet_lite0", 160, 16, None, "fp32"),
    ("timm/efficientnet_lite0", 160, 16, 4, "fp32"),
    ("timm/efficientnet_lite0", 224, 8, 0, "fp32"),
    ("timm/efficientnet_lite0", 96, 16, None, "bf16"),
    ("resnet50", 96, 16, None, "fp32"),
    ("resnet50", 96, 32, None, "fp32"),
    ("resnet50", 160, 16, None, "fp32"),
    ("resnet50", 224, 16, None, "fp32"),
    ("resnet50", 224, 8, 2, "fp32"),
    ("resnet50", 224, 16, 0, "fp32"),
    ("resnet50", 96, 16, None, "bf16"),
    ("resnet50", 160, 8, None, "bf16"),
    ("inception_v3", 96, 16, None, "fp32"),
    ("inception_v3", 160, 8, None, "fp32"),
    ("inception_v3", 224, 8, 2, "fp32"),
    ("inception_v3", 96, 32, 0, "fp32"),
    ("inception_v3", 160, 8, None, "bf16"),
    ("vgg16", 96, 16, None, "fp32"),
    ("vgg16", 160, 8, 2, "fp32"),
    ("vgg16", 160, 16, None, "fp32"),
    ("vgg16", 224, 16, None, "fp32"),
    ("vgg16", 96, 32, 0, "fp32"),
    ("vgg16", 96, 16, None, "bf16"),
]
"""Backbone, side in pixels, images a domain, unfrozen depth (None: all stages), precision."""
GIB = 2**30


def measured(side: int, steps: int = 3, **recipe: Any) -> int:
    """Train a few steps in this process; return the largest resident set in bytes."""
    import torch

    import dann_search.search.worker  # noqa: F401  what a worker imports, Ray among it
    from dann_search.config.extensions import METHODS
    from dann_search.config.trial import TrialConfig
    from dann_search.data.augment import prepare
    from dann_search.data.views import Seen
    from dann_search.models.build import build_network
    from dann_search.models.registry import spec_of
    from dann_search.training.optimizer import Optimizer
    from dann_search.training.precision import autocast
    from dann_search.training.predict import batch_size_for, predict_outputs
    from dann_search.training.step import Step, step_loss

    torch.set_num_threads(1)
    config = TrialConfig.model_validate({"pretrained": False, **recipe})
    network = build_network(config, 10, side=side)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, spec = Optimizer(network, config), spec_of(config.backbone)
    generator = torch.Generator()
    network.train()

    def pixels(images: int) -> torch.Tensor:
        return torch.randint(0, 255, (images, 3, side, side), dtype=torch.uint8)

    n, cpu = config.batch_size, torch.device("cpu")
    for _ in range(steps):
        source, target = (
            prepare(pixels(n), side, spec.mean, spec.std, config, generator) for _ in range(2)
        )
        labels, adaptation = torch.zeros(n, dtype=torch.long), METHODS.code(config.method)
        with autocast(cpu, config.precision):
            step = Step(source=source, labels=labels, target=target)
            loss, _ = step_loss(network, step, adaptation, 0.5, n)
        optimizer.backward(loss)
        optimizer.step()
    del loss, step, source, target
    images = Seen(pixels(batch_size_for(side)), side, spec.normalization, None, cpu)
    predict_outputs(network, images, precision=config.precision)
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def main() -> None:
    """Print a row a case, then the spread of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of a backbone's name")
    parser.add_argument("--cases", type=int, help="only the first N")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--measure", type=json.loads, help="one case in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.measure:
        print(measured(**arguments.measure))
        return
    from dann_search.config.trial import TrialConfig
    from dann_search.training.memory import peak_of

    print("| backbone | pixels | batch | depth | precision | estimate | measured | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    ratios = []
    for backbone, side, batch, depth, precision in CASES[: arguments.cases]:
        if arguments.only not in backbone:
            continue
        recipe = {
            "backbone": backbone,
            "batch_size": batch,
            "unfrozen_depth": depth,
            "precision": precision,
        }
        estimate = peak_of(TrialConfig.model_validate(recipe), classes=10, side=side).machine
        case = json.dumps({**recipe, "side": side, "steps": arguments.steps})
        command = [sys.executable, __file__, "--measure", case]
        most = int(subprocess.check_output(command, text=True))
        ratios.append(estimate / most)
        print(
            f"| {backbone} | {side} | {batch} | {'all' if depth is None else depth} | {precision} "
            f"| {estimate / GIB:.2f} GiB | {most / GIB:.2f} GiB | {ratios[-1]:.2f} |",
            flush=True,
        )
    print(
        f"ratio: median {statistics.median(ratios):.2f}, "
        f"from {min(ratios):.2f} to {max(ratios):.2f}"
    )


if __name__ == "__main__":
    main()
