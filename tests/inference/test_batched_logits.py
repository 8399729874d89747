"""Where a model is run: by name, with a stand-in for the GPU."""

import pytest
import torch

from dann_search.inference.batched_logits import find_device


@pytest.mark.parametrize(
    ("name", "there", "device"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cuda", True, "cuda"),
        ("cpu", True, "cpu"),
    ],
)
def test_a_gpu_is_used_where_it_is_there_and_not_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, there: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert find_device(name) == torch.device(device)
