"""What a worker takes for its device, and which errors are of it; CUDA has a stand-in."""

import pytest
import torch
from ray.train import torch as ray_torch

from dann_search.search.causes import is_of_the_device
from dann_search.search.worker import _own_device


@pytest.mark.parametrize(("device", "calls"), [("cuda:1", ["cuda:1"]), ("cpu", [])])
def test_a_worker_makes_the_gpu_that_ray_gave_it_the_current_one(
    monkeypatch: pytest.MonkeyPatch, device: str, calls: list[str]
) -> None:
    made_current: list[str] = []
    monkeypatch.setattr(ray_torch, "get_device", lambda: torch.device(device))
    monkeypatch.setattr(torch.cuda, "set_device", lambda given: made_current.append(str(given)))
    assert _own_device() == torch.device(device)
    assert made_current == calls


def test_a_gpu_that_failed_is_told_from_one_that_is_full() -> None:
    assert is_of_the_device(torch.AcceleratorError("CUDA error: an illegal memory access"))
    assert not is_of_the_device(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_of_the_device(ValueError("a bad recipe"))
