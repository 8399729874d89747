"""The precision of a recipe: forward passes in fp32, bf16 or fp16."""

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Run forward passes of the block in a precision; fp32 leaves them as they are."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def without_autocast(device: torch.device) -> torch.autocast:
    """Run the block in the precision of its inputs, whatever surrounds it."""
    return torch.autocast(device.type, enabled=False)


def at_least_fp32(tensor: Tensor) -> Tensor:
    """Return a tensor of half precision in fp32, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
