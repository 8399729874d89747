"""A step leaves the device alone: nothing in it asks for a result, or sends numbers one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dann_search.config.extensions import METHODS
from dann_search.data.augment import _change as change
from dann_search.data.augment import draw, normalize
from dann_search.training.epoch_steps import EpochSteps
from dann_search.training.loop import Training
from tests.training.recipes import recipe, tiny_data
from tests.training.waits import Waits, no_waits

ADDITIONS = [
    {"method": "dann", "extra": "jan", "discriminator_gradient_penalty": 1.0},
    {"method": "dann", "discriminator_norm": "spectral", "discriminator_dropout": 0.1},
    {"method": "mcc", "ema_decay": 0.9, "gradient_clipping": 1.0, "label_smoothing": 0.1},
    {"method": "cdan", "optimizer": "adamw", "batch_norm": "domain"},
    {"method": "deep_coral", "precision": "bf16", "batch_norm": "joint"},
    {"method": "mcd", "fine_tuning": "lora", "lora_rank": 2, "batch_norm": "frozen"},
]


@pytest.mark.parametrize(
    "changes", [*({"method": name} for name in METHODS), *ADDITIONS], ids=lambda one: str(one)
)
def test_no_step_waits_for_the_device(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = recipe(**changes)
    training = Training(config, tiny_data(), tmp_path)
    training.network.train()
    sums = torch.zeros(4)
    for number, step in enumerate(EpochSteps(training.batches, 1), 1):
        with no_waits():
            training.optimizer.set_progress(step.progress)
            loss, parts = training._loss(step, 0.5)
            training.optimizer.backward(loss)
            training.optimizer.step()
            training.average.update(number)
            sums += parts


def test_colours_crops_and_normalization_send_no_numbers_of_their_own() -> None:
    config = recipe(colour_jitter=0.5, grayscale=0.3, erasing=0.5, policy_strength=0.8)
    draws = draw(config, 16, torch.Generator().manual_seed(0), None, 1.0)
    images, how = torch.rand(16, 3, 16, 16), ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    normalize(change(images, draws, None), *how)  # constants are sent at their first use
    with Waits() as waits:
        normalize(change(images, draws, None), *how)
    # The draws are on the CPU, and asked there whether there is anything to do.
    assert set(waits.found) <= {"_local_scalar_dense"}


@pytest.mark.parametrize("what", ["item", "mask", "nonzero", "numbers", "assignment"])
def test_the_stand_in_sees_what_waits(what: str) -> None:
    x = torch.rand(4)
    with Waits() as waits:
        if what == "item":
            bool(x.sum() > 0)
        elif what == "mask":
            x[x > 2]
        elif what == "nonzero":
            x.nonzero()
        elif what == "numbers":
            x.new_tensor([1.0, 2.0])
        else:
            x[x > 2] = 0.0
    assert waits.found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_step_waits_for_a_gpu(tmp_path: Path) -> None:
    training = Training(recipe(), tiny_data(), tmp_path, torch.device("cuda"))
    training.network.train()
    steps = iter(EpochSteps(training.batches, 1))
    for number in range(3):
        # The first two have memory pinned and kernels chosen.
        torch.cuda.set_sync_debug_mode("error" if number == 2 else "default")
        try:
            step = next(steps)
            loss, _ = training._loss(step, 0.5)
            training.optimizer.backward(loss)
            training.optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
