"""The gradient reversal layer against its closed form."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dann_search.models.gradient_reversal import reverse_gradient


@settings(max_examples=30, deadline=None, derandomize=True)
@given(lam=st.floats(0, 10), seed=st.integers(0, 1000))
def test_forward_is_the_identity_and_backward_is_minus_lambda_times_the_gradient(
    lam: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    y = reverse_gradient(x, lam)
    assert torch.equal(y, x)
    # d/dx of sum((x W)^2) is 2 x W W'.
    (y @ weights).square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, -lam * 2 * x.detach() @ weights @ weights.T)


def test_parameters_behind_the_layer_get_their_own_gradient() -> None:
    x = torch.tensor([2.0], requires_grad=True)
    weight = torch.tensor([3.0], requires_grad=True)
    (reverse_gradient(x, 0.5) * weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None and x.grad is not None
    assert weight.grad.item() == pytest.approx(2.0)
    assert x.grad.item() == pytest.approx(-1.5)
