"""Schedules against their closed forms."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dann_search.training.schedules import depth_at, lambda_at, lr_factor_at
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
    schedule=st.sampled_from(["constant", "linear", "cosine", "ganin"]),
    delay=st.floats(0, 0.99),
    ends=st.tuples(PROGRESS, PROGRESS),
    gamma=st.floats(0.01, 1e6),
    top=MAXIMUM,
)
def test_lambda_grows_from_zero_to_its_maximum_at_most(
    schedule: str, delay: float, ends: tuple[float, float], gamma: float, top: float
) -> None:
    config = recipe(
        lambda_schedule=schedule, lambda_max=top, lambda_gamma=gamma, lambda_delay=delay
    )
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


@given(p=PROGRESS, top=MAXIMUM, warmup=st.floats(0.01, 1))
def test_cosine_lambda_rises_along_half_a_wave(p: float, top: float, warmup: float) -> None:
    config = recipe(lambda_schedule="cosine", lambda_max=top, lambda_warmup=warmup)
    expected = top if p >= warmup else top * (1 - math.cos(math.pi * p / warmup)) / 2
    assert lambda_at(p, config) == pytest.approx(expected)


@given(p=PROGRESS, delay=st.floats(0, 0.99), schedule=st.sampled_from(["linear", "ganin"]))
def test_a_delayed_schedule_is_the_schedule_of_what_is_left(
    p: float, delay: float, schedule: str
) -> None:
    late = lambda_at(p, recipe(lambda_schedule=schedule, lambda_delay=delay))
    if p < delay:
        assert late == 0
    else:
        q = (p - delay) / (1 - delay)
        assert late == pytest.approx(lambda_at(q, recipe(lambda_schedule=schedule)))


@pytest.mark.parametrize("steps", [1, 150, 1000, 5000])
def test_tllibs_warm_start_is_ganins_with_a_gamma_of_steps_by_a_thousand(steps: int) -> None:
    """The mapping that docs/methods.md gives: its alpha is 1 and its max_iters 1,000."""
    config = recipe(lambda_schedule="ganin", lambda_gamma=steps / 1000)
    for step in (0, steps // 2, steps):
        theirs = 2.0 / (1.0 + math.exp(-1.0 * step / 1000)) - 1.0
        assert lambda_at(step / steps, config) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 150, 20_000])
def test_tllibs_rates_are_ganins_with_a_gamma_of_steps_by_a_thousand(steps: int) -> None:
    """Its --lr-gamma is 0.001, its --lr-decay 0.75."""
    config = recipe(lr_schedule="ganin", lr_gamma=steps / 1000)
    for step in (0, steps // 2, steps):
        assert lr_factor_at(step / steps, config) == pytest.approx((1 + 0.001 * step) ** -0.75)


def test_deepdas_schedule_ends_at_0462() -> None:
    assert lambda_at(1, recipe(lambda_schedule="ganin", lambda_gamma=1)) == pytest.approx(
        0.4621, abs=1e-4
    )


def test_gradual_unfreezing_adds_a_stage_at_a_time() -> None:
    config = recipe(gradual_unfreezing=2)
    assert [depth_at(epoch, config, 3) for epoch in range(1, 10)] == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert depth_at(1, recipe(), 3) == 3


def test_a_linear_probe_comes_before_all_stages_or_the_first_of_gradual_unfreezing() -> None:
    config = recipe(linear_probe_epochs=3)
    assert [depth_at(epoch, config, 2) for epoch in range(1, 6)] == [0, 0, 0, 2, 2]
    both = recipe(linear_probe_epochs=3, gradual_unfreezing=1)
    assert [depth_at(epoch, both, 2) for epoch in range(1, 7)] == [0, 0, 0, 1, 2, 2]
    assert depth_at(1, recipe(linear_probe_epochs=3, method="from_scratch"), 2) == 2
