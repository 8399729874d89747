"""One state of torch for one seed, whatever ran in this process before."""

import random

import numpy as np
import torch


def reset_torch(seed: int) -> None:
    """Seed every generator and put back the flags that change results."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
