"""Random states, with a stand-in for the GPU's."""

import pytest
import torch

from dann_search.training.seeding import restore_torch, torch_state

OF_GPU = torch.arange(16, dtype=torch.uint8)


def test_the_state_of_the_current_gpu_is_kept_beside_that_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: OF_GPU)
    state = torch_state()
    assert state.keys() == {"cpu", "cuda"} and torch.equal(state["cuda"], OF_GPU)
    drawn = torch.rand(3)
    restored: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_rng_state", restored.append)
    restore_torch(state)
    assert len(restored) == 1 and torch.equal(restored[0], OF_GPU)
    assert torch.equal(torch.rand(3), drawn)


def test_a_machine_without_a_gpu_goes_on_with_a_state_of_one_that_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert torch_state().keys() == {"cpu"}
    state = {**torch_state(), "cuda": OF_GPU}
    drawn = torch.rand(3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    restore_torch(state)
    assert torch.equal(torch.rand(3), drawn)
