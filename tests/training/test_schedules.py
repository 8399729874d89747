"""Schedules against their closed forms."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dann_search.training.schedules import lambda_at, lr_factor_at
from tests.training.recipes import recipe

PROGRESS = st.floats(0, 1)
MAXIMUM = st.floats(0, 10)


@given(p=PROGRESS, top=MAXIMUM, gamma=st.floats(0.01, 1000))
def test_ganin_lambda_is_the_papers(p: float, top: float, gamma: float) -> None:
    config = recipe(lambda_schedule="ganin", lambda_max=top, lambda_gamma=gamma)
    expected = top * (2 / (1 + math.exp(-gamma * p)) - 1)
    assert lambda_at(p, config) == pytest.approx(expected, abs=1e-12)


def test_ganin_lambda_has_the_papers_values() -> None:
    """Ganin et al. 2016, 5.2.2, gamma 10: zero at the start, tanh(5 p), 0.9999 at the end."""
    config = recipe(lambda_schedule="ganin", lambda_max=1.0, lambda_gamma=10.0)
    assert lambda_at(0, config) == 0
    assert lambda_at(0.5, config) == pytest.approx(math.tanh(2.5))
    assert lambda_at(1, config) == pytest.approx(math.tanh(5))


@given(p=PROGRESS, top=MAXIMUM, warmup=st.floats(0.01, 1))
def test_linear_lambda_reaches_its_maximum_at_the_warmup(
    p: float, top: float, warmup: float
) -> None:
    config = recipe(lambda_schedule="linear", lambda_max=top, lambda_warmup=warmup)
    assert lambda_at(p, config) == pytest.approx(top if p >= warmup else top * p / warmup)


@given(p=PROGRESS, top=MAXIMUM)
def test_constant_lambda_is_constant(p: float, top: float) -> None:
    assert lambda_at(p, recipe(lambda_schedule="constant", lambda_max=top)) == top


@given(
    schedule=st.sampled_from(["constant", "linear", "ganin"]),
    ends=st.tuples(PROGRESS, PROGRESS),
    gamma=st.floats(0.01, 1e6),
    top=MAXIMUM,
)
def test_lambda_grows_from_zero_to_its_maximum_at_most(
    schedule: str, ends: tuple[float, float], gamma: float, top: float
) -> None:
    config = recipe(lambda_schedule=schedule, lambda_max=top, lambda_gamma=gamma)
    early, late = (lambda_at(p, config) for p in sorted(ends))
    assert 0 <= early <= late <= top


@pytest.mark.parametrize(
    ("schedule", "p", "factor"),
    [("ganin", 0, 1), ("ganin", 1, 11**-0.75), ("ganin", 0.3, 4**-0.75), ("cosine", 0, 1),
     ("cosine", 0.5, 0.5), ("cosine", 1, 0), ("constant", 0.7, 1)],
)  # fmt: skip
def test_learning_rates_follow_their_closed_forms(schedule: str, p: float, factor: float) -> None:
    assert lr_factor_at(p, recipe(lr_schedule=schedule)) == pytest.approx(factor)


@given(
    schedule=st.sampled_from(["ganin", "cosine", "constant"]), ends=st.tuples(PROGRESS, PROGRESS)
)
def test_learning_rates_never_rise(schedule: Any, ends: tuple[float, float]) -> None:
    early, late = (lr_factor_at(p, recipe(lr_schedule=schedule)) for p in sorted(ends))
    assert 0 <= late <= early <= 1
