"""Leave torch's compiler out: nothing here compiles, and it is half of what torch's import takes.

torchvision imports it for operators of object detection, torch's optimizers to tell it where a
graph ends. It takes 1.4 s of a core and 68 MB in each process (torch 2.13): sympy, pandas and
torch's other back ends come with it.
"""

import contextlib
import sys
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
    if NAME in sys.modules:
        yield
        return
    whole, utils = _StandIn(NAME), _StandIn(f"{NAME}.utils")
    sys.modules |= {one.__name__: one for one in (whole, utils)}
    torch._dynamo = whole
    try:
        yield
    finally:
        for one in (whole, utils):
            if sys.modules.get(one.__name__) is one:
                del sys.modules[one.__name__]
        if vars(torch).get("_dynamo") is whole:
            del torch._dynamo


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
