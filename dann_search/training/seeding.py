"""One state of torch for one seed, whatever ran in this process before."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from dann_search.data.batches import epoch_seed

GLOBAL = 4
"""Stream of random numbers for what draws from torch's own generator, as dropout does."""


def dropout_seed(seed: int, epoch: int, rank: int) -> int:
    """Return the seed of torch's own generator for an epoch; each worker drops other features."""
    # Spread over 32 bits: torch's generator of the CPU looks at no more.
    return epoch_seed(seed, epoch, GLOBAL) + rank * 0x9E3779B9


def reset_torch(seed: int) -> None:
    """Seed every generator and put back the flags that change results."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    _set_flags()


def _set_flags() -> None:
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def torch_state() -> dict[str, Tensor]:
    """Return the state of torch's generators, of the CPU and of a GPU that is in use."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_torch(state: dict[str, Tensor]) -> None:
    """Put back what ``torch_state`` gave, as far as this machine has the device."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put back every generator and flag after the block, whatever it does to them."""
    kept = random.getstate(), np.random.get_state(), torch_state()
    yield
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    restore_torch(kept[2])
    _set_flags()
