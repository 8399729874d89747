"""The estimate of a worker's peak memory, against arithmetic and against steps that are made."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.training.memory import PROCESS, LiveBytes, Peak, peak_of

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "trial_memory.py"


def peak(side: int = 224, workers: int = 1, gpu: bool = False, **recipe: object) -> Peak:
    config = TrialConfig.model_validate({"backbone": "resnet18", "batch_size": 64, **recipe})
    return peak_of(config, classes=10, side=side, workers=workers, gpu=gpu)


def test_bytes_are_counted_while_they_are_alive() -> None:
    with LiveBytes() as live:
        kept = torch.zeros(1000)
        gone = torch.zeros(2000)
        view = kept.view(10, 100)
        assert (live.small, live.mapped) == (12_000, 0)
        del gone
        assert (live.small, live.mapped) == (4_000, 0)
        large = torch.zeros(10 * 2**20)
        del kept
        assert (live.small, live.mapped) == (4_000, 40 * 2**20)
        del view, large
    assert (live.small, live.mapped) == (0, 0)
    assert live.most == (4_000, 40 * 2**20)


@pytest.mark.parametrize("batch_norm", ["joint", "separate", "frozen"])
def test_activations_grow_with_the_batch_and_end_where_stages_are_frozen(batch_norm: str) -> None:
    one, two = (peak(batch_size=n, batch_norm=batch_norm).machine for n in (64, 128))
    head_only = peak(batch_size=64, batch_norm=batch_norm, unfrozen_depth=0).machine
    depths = [peak(batch_norm=batch_norm, unfrozen_depth=d).machine for d in range(6)]
    assert 1.6 < (two - PROCESS) / (one - PROCESS) < 2.1
    assert head_only < one / 1.5
    assert depths == sorted(depths)
    assert depths[-1] == peak(batch_norm=batch_norm).machine


def test_half_precision_half_the_batch_and_no_target_take_less() -> None:
    whole = peak().machine - PROCESS
    for cheaper in (
        peak(precision="bf16"),
        peak(precision="fp16"),
        peak(workers=2),
        peak(method="source_only"),
    ):
        assert 0.45 < (cheaper.machine - PROCESS) / whole < 0.8


def test_optimizer_and_average_add_copies_of_what_is_trained() -> None:
    trained = 4 * 11_176_512  # ResNet18 without its head
    plain = peak(momentum=0.0).machine
    # Each of them is also in the checkpoint that is written beside a step.
    for more, copies in (
        (peak(), 2),
        (peak(optimizer="adamw"), 4),
        (peak(ema_decay=0.9, momentum=0.0), 3),
    ):
        assert (more.machine - plain) / trained == pytest.approx(copies, rel=0.05)


def test_on_a_gpu_activations_are_in_its_memory() -> None:
    small, large = (peak(gpu=True, batch_size=n) for n in (64, 256))
    assert small.machine == large.machine
    assert large.gpu - small.gpu > 2 * (peak(batch_size=64).machine - PROCESS)


@pytest.mark.parametrize("backbone", ["mobilenet_v3_small", "swin_t", "vit_b_16", "inception_v3"])
def test_backbones_of_the_catalogue_can_be_estimated(backbone: str) -> None:
    assert stage_counts()[backbone]
    whole, half = (peak(backbone=backbone, precision=p, batch_size=8) for p in ("fp32", "bf16"))
    assert PROCESS < half.machine < whole.machine


SMALL = {"backbone": "mobilenet_v3_small", "side": 96, "batch_size": 32}
HALVES = {"backbone": "resnet18", "side": 64, "batch_size": 64, "precision": "bf16"}
FROZEN = {"backbone": "resnet18", "side": 96, "batch_size": 64, "unfrozen_depth": 2}
ADAPTERS = {
    "backbone": "timm/vit_small_patch14_dinov2",
    "side": 112,
    "batch_size": 16,
    "fine_tuning": "lora",
    "unfrozen_depth": 4,
    "optimizer": "adamw",
}


@pytest.mark.parametrize("case", [SMALL, *(one for one in (HALVES, FROZEN, ADAPTERS))])
def test_steps_that_are_made_take_what_was_estimated(case: dict[str, object]) -> None:
    command = [sys.executable, str(SCRIPT), "--measure", json.dumps({**case, "steps": 2})]
    measured = json.loads(subprocess.check_output(command, text=True))
    recipe = {name: value for name, value in case.items() if name != "side"}
    config = TrialConfig.model_validate({"pretrained": False, **recipe})
    estimate = peak_of(config, classes=10, side=int(str(case["side"]))).machine
    assert 0.75 < estimate / measured < 1.4
