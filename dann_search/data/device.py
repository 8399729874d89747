"""What goes to the device of the network: constants once, batches without waiting for it."""

from functools import lru_cache

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device; to a GPU from pinned memory, so that none waits."""
    if device.type == "cuda" and not tensor.is_cuda:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@lru_cache
def constant(
    values: tuple[float | tuple[float, ...], ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return a tensor of these values, sent to the device once; not to be changed in place."""
    return torch.tensor(values, dtype=dtype, device="cpu").to(device)


@lru_cache
def inverse(
    matrix: tuple[tuple[float, ...], ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return the inverse of a constant matrix, computed on the CPU, likewise."""
    found: Tensor = torch.linalg.inv(constant(matrix, torch.device("cpu"), dtype))
    return found.to(device)
