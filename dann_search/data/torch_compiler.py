"""Leave torch's compiler out: nothing here compiles, and it is half of what torch's import takes.

torchvision imports it for operators of object detection, torch's optimizers to tell it where a
graph ends. It takes 1.4 s of a core and 68 MB in each process (torch 2.13): sympy, pandas and
torch's other back ends come with it.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Give what the block imports as the compiler a stand-in that compiles nothing.

    Where the compiler is there already, as after somebody's ``torch.compile``, the block has it.
    """
    with _lock:
        stands_in = _begin()
    try:
        yield
    finally:
        if stands_in:
            with _lock:
                _end()


def _begin() -> bool:
    """Put the stand-in in place for one more block; return whether it is."""
    global _blocks
    if NAME in sys.modules and not _blocks:
        return False
    if not _blocks:
        sys.modules |= {one.__name__: one for one in _STAND_INS}
        torch._dynamo = _STAND_INS[0]
    _blocks += 1
    return True


def _end() -> None:
    """Take the stand-in away with the last block: threads may train beside each other."""
    global _blocks
    _blocks -= 1
    if not _blocks:
        for one in _STAND_INS:
            sys.modules.pop(one.__name__, None)
        vars(torch).pop("_dynamo", None)


class _StandIn(ModuleType):
    """What is asked of the compiler by those who do not compile."""

    @staticmethod
    def graph_break() -> None:
        """Mark nothing: there is no graph."""

    @staticmethod
    def disable(function: Any, *_: Any, **__: Any) -> Any:
        """Return a function that is not compiled as it is."""
        return function

    @staticmethod
    def is_compile_supported(device: Any) -> bool:
        """Ask the compiler itself."""
        from torch._dynamo.utils import is_compile_supported

        return bool(is_compile_supported(device))


_STAND_INS = _StandIn(NAME), _StandIn(f"{NAME}.utils")
_lock, _blocks = threading.Lock(), 0
