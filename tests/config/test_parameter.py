"""One dimension of a space: what it may hold, and when it exists."""

import math
from typing import Any

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
