"""One dimension of a space: what it may hold, and when it exists."""

import math
import re
from typing import Any

import optuna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from dann_search.config.parameter import Choice, Int, LogUniform, Parameter, Uniform

PARAMETER: TypeAdapter[Any] = TypeAdapter(Parameter)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=1e-300, max_value=1e300)


@given(a=NUMBERS, b=NUMBERS, share=st.floats(0, 1))
def test_a_uniform_range_contains_its_ends_and_what_is_between(
    a: float, b: float, share: float
) -> None:
    low, high = sorted((a, b))
    parameter = PARAMETER.validate_python({"uniform": [low, high]})
    assert isinstance(parameter, Uniform)
    between = min(max(low * (1 - share) + high * share, low), high)
    assert all(parameter.contains(value) for value in (low, high, between))
    assert not parameter.contains(math.nextafter(high, math.inf))


@given(a=NUMBERS, b=NUMBERS)
def test_an_inverted_range_is_refused(a: float, b: float) -> None:
    assume(a != b)
    low, high = sorted((a, b))
    with pytest.raises(ValidationError, match="low must not exceed high"):
        PARAMETER.validate_python({"uniform": [high, low]})


@given(low=POSITIVE, high=POSITIVE)
def test_a_log_range_is_valid_exactly_where_it_is_ordered(low: float, high: float) -> None:
    if low <= high:
        assert isinstance(PARAMETER.validate_python({"loguniform": [low, high]}), LogUniform)
    else:
        with pytest.raises(ValidationError):
            PARAMETER.validate_python({"loguniform": [low, high]})


@given(low=st.floats(max_value=0, allow_infinity=False), high=POSITIVE)
def test_a_log_range_from_zero_or_below_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValidationError, match="low > 0"):
        PARAMETER.validate_python({"loguniform": [low, high]})


@given(low=st.integers(-1000, 1000), size=st.integers(0, 1000), value=st.floats(-3000, 3000))
def test_an_int_range_contains_whole_numbers_alone(low: int, size: int, value: float) -> None:
    parameter = PARAMETER.validate_python({"int": [low, low + size]})
    assert isinstance(parameter, Int)
    assert parameter.contains(low) and parameter.contains(low + size)
    assert parameter.contains(value) == (value.is_integer() and low <= value <= low + size)


@given(values=st.lists(st.integers() | st.text() | st.booleans(), min_size=1), other=st.text())
def test_a_choice_contains_what_it_lists(values: list[Any], other: str) -> None:
    parameter = PARAMETER.validate_python({"choice": values})
    assert isinstance(parameter, Choice)
    assert all(parameter.contains(value) for value in values)
    assert parameter.contains(other) == (other in values)


@given(wrong=st.text() | st.none() | st.lists(st.integers()))
def test_a_range_contains_no_text_and_raises_nothing(wrong: object) -> None:
    for parameter in (Uniform(uniform=(0, 1)), LogUniform(loguniform=(1, 2)), Int(int=(0, 1))):
        assert not parameter.contains(wrong)


@given(value=st.sampled_from(["a", "b", "c"]), wanted=st.lists(st.sampled_from(["a", "b", "c"]),
                                                               min_size=1))  # fmt: skip
def test_a_parameter_exists_where_every_condition_holds(value: str, wanted: list[str]) -> None:
    parameter = PARAMETER.validate_python({"int": [0, 1], "when": {"x": wanted, "y": 1}})
    assert parameter.holds({"x": value, "y": 1}) == (value in wanted)
    assert not parameter.holds({"x": value, "y": 2})
    assert not parameter.holds({"x": value})


@given(parameter=st.sampled_from([
    {"choice": [0.5, 0.9]}, {"uniform": [0, 1]}, {"loguniform": [1, 2]}, {"int": [1, 2]},
]), when=st.dictionaries(st.text(max_size=3), st.integers() | st.text(), max_size=2))  # fmt: skip
def test_a_parameter_survives_being_written_and_read(
    parameter: dict[str, Any], when: dict[str, Any]
) -> None:
    made = PARAMETER.validate_python({**parameter, "when": when})
    assert PARAMETER.validate_json(PARAMETER.dump_json(made)) == made


@given(low=st.integers(-100, 100), step=st.integers(1, 20), count=st.integers(0, 50))
def test_an_int_range_with_steps_contains_its_options_and_no_other_number(
    low: int, step: int, count: int
) -> None:
    high = low + step * count
    parameter = PARAMETER.validate_python({"int": [low, high], "step": step})
    assert list(parameter.options) == list(range(low, high + 1, step))
    contained = [n for n in range(low - 1, high + 2) if parameter.contains(n)]
    assert contained == list(parameter.options)


@given(
    low=st.integers(-50, 50), step=st.sampled_from([0.01, 0.05, 0.1, 0.25]), n=st.integers(0, 60)
)
def test_a_uniform_range_with_steps_has_the_values_that_optuna_samples(
    low: int, step: float, n: int
) -> None:
    high = round(low + step * n, 10)
    parameter = PARAMETER.validate_python({"uniform": [low, high], "step": step})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=n))
    sampled = study.ask().suggest_float("x", low, high, step=step)
    assert parameter.contains(sampled)
    assert min(abs(sampled - option) for option in parameter.options) < 1e-9
    assert len(parameter.options) == n + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"int": [0, 10], "step": 4}, "steps of 4 from 0 do not meet 10; write [0, 8] or [0, 12]"),
        ({"uniform": [0, 1], "step": 0.3}, "do not meet 1; write [0, 0.9] or [0, 1.2]"),
        ({"uniform": [0, 1], "step": 0}, "greater than 0"),
        ({"int": [0, 4], "per_backbone": {"vgg16": [3, 1]}}, "low must not exceed high"),
        ({"loguniform": [1, 4], "per_backbone": {"vgg16": [0, 1]}}, "needs low > 0"),
        ({"loguniform": [1, 4], "step": 1}, "Extra inputs"),
    ],
)
def test_steps_and_ranges_that_make_no_sense_are_refused(
    text: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        PARAMETER.validate_python(text)
