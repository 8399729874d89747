"""What on a GPU would have the host wait for the device, seen on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = ("_local_scalar_dense", "equal", "linalg_inv_ex", "masked_select", "nonzero", "unique")
"""Operations of which the host reads the result, or its size."""
COPIES = ("lift_fresh",)
"""Of a tensor made of Python's numbers: it would be copied from pageable memory."""


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations within the block that would wait.

    Attributes:
        found: their names.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation."""
        name = func.overloadpacket.__name__
        by_mask = name.startswith(("index", "_index")) and any(
            isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1:2])
        )
        if by_mask or name.startswith(READS) or name in COPIES:
            self.found.append(f"{name} by a mask" if by_mask else name)
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waits() -> Iterator[None]:
    """Fail where anything within the block would wait."""
    with Waits() as waits:
        yield
    assert not waits.found
