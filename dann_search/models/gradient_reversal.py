"""The gradient reversal layer (Ganin et al. 2016, section 4.2).

Identity forward, -lambda times the gradient back.
"""

from typing import Any

from torch import Tensor
from torch.autograd import Function


class _ReverseGradient(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, lam: float) -> Tensor:
        ctx.lam = lam
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.lam * gradients[0], None


def reverse_gradient(features: Tensor, lam: float) -> Tensor:
    """Return ``features``; their gradient is multiplied by ``-lam`` on the way back."""
    reversed_: Tensor = _ReverseGradient.apply(features, lam)  # type: ignore[no-untyped-call]
    return reversed_
