"""A training step with weights in channels-last order, against torch's default order.

    python benchmarks/memory_format.py [--rounds 6]

Forward and backward pass of each backbone on random images, the two orders measured in turn; images
come in the default order in both, as the store gives them.
"""

import argparse
import statistics
import time

import torch

from dann_search.config.trial import TrialConfig
from dann_search.models.build import build_network
from dann_search.models.network import DannNetwork

CASES = {
    "dann_cnn": (28, 64),
    "shufflenet_v2_x0_5": (28, 64),
    "squeezenet1_1": (96, 32),
    "mobilenet_v3_small": (96, 32),
    "timm/efficientnet_lite0": (96, 32),
    "resnet18": (96, 32),
    "resnet50": (96, 16),
    "vgg16": (64, 8),
    "swin_t": (96, 8),
}
"""Side in pixels and images a step."""


def network_of(backbone: str, side: int) -> DannNetwork:
    """Build the whole network, with every stage trained."""
    torch.manual_seed(0)
    config = TrialConfig(backbone=backbone, pretrained=False, method="source_only")
    return build_network(config, 10, side=side).train()


def step_seconds(network: DannNetwork, images: torch.Tensor) -> float:
    """Of one forward and backward pass."""
    begun = time.perf_counter()
    network(images).sum().backward()
    return time.perf_counter() - begun


def main() -> None:
    """Print a row a backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| backbone | pixels | channels-last / default | smallest | largest |")
    print("|---|---|---|---|---|")
    for backbone in arguments.backbones.split(","):
        side, batch = CASES[backbone]
        default, other = network_of(backbone, side), network_of(backbone, side)
        other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images, ratios = torch.rand(batch, 3, side, side), []
        for number in range(arguments.rounds + 1):
            plain, last = (step_seconds(network, images) for network in (default, other))
            if number:  # the first pays for memory and kernels
                ratios.append(last / plain)
        print(
            f"| {backbone} | {side} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} | {max(ratios):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
