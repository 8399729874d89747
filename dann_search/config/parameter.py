"""One dimension of the search space: a choice, a range, and the condition under which it exists."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

Scalar = bool | int | float | str


class Condition(BaseModel):
    """Base of every parameter: it exists only where each name in ``when`` has one of its values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter exists given the values chosen so far."""
        return all(
            values.get(name) in (wanted if isinstance(wanted, list) else [wanted])
            for name, wanted in self.when.items()
        )


class Choice(Condition):
    """One of a list of values."""

    choice: list[Scalar] = Field(min_length=1)

    @field_validator("choice")
    @classmethod
    def _distinct(cls, values: list[Scalar]) -> list[Scalar]:
        if len({(type(v), v) for v in values}) < len(values):
            raise ValueError(f"the same value twice in {values}")
        return values

    def contains(self, value: object) -> bool:
        """Whether ``value`` may be sampled."""
        return value in self.choice


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"both ends must be finite, got [{low}, {high}]")
    if low > high:
        raise ValueError(f"low must not exceed high, got [{low}, {high}]; write [{high}, {low}]")
    return bounds


class Uniform(Condition):
    """A real number between low and high, both included."""

    uniform: tuple[float, float]

    _check = field_validator("uniform")(_ordered)

    def contains(self, value: float) -> bool:
        """Whether ``value`` may be sampled."""
        return self.uniform[0] <= value <= self.uniform[1]


class LogUniform(Condition):
    """A positive real number whose logarithm is uniform between low and high."""

    loguniform: tuple[float, float]

    @field_validator("loguniform")
    @classmethod
    def _positive(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] <= 0:
            raise ValueError(
                f"a log range needs low > 0, got [{bounds[0]}, {bounds[1]}]; "
                "use a small positive low, or uniform"
            )
        return _ordered(bounds)

    def contains(self, value: float) -> bool:
        """Whether ``value`` may be sampled."""
        return self.loguniform[0] <= value <= self.loguniform[1]


class Int(Condition):
    """A whole number between low and high, both included."""

    int: tuple[int, int]

    @field_validator("int")
    @classmethod
    def _check(cls, bounds: "tuple[int, int]") -> "tuple[int, int]":
        _ordered(bounds)
        return bounds

    def contains(self, value: float) -> bool:
        """Whether ``value`` may be sampled."""
        return self.int[0] <= value <= self.int[1] and value == round(value)


KINDS = ("choice", "uniform", "loguniform", "int")


def _kind(value: Any) -> str | None:
    if isinstance(value, Condition):
        return type(value).__name__.lower()
    if isinstance(value, dict):
        named = [kind for kind in KINDS if kind in value]
        return named[0] if len(named) == 1 else None
    return None


Parameter = Annotated[
    Annotated[Choice, Tag("choice")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("loguniform")]
    | Annotated[Int, Tag("int")],
    Discriminator(_kind, custom_error_type="parameter_kind", custom_error_message=""),
]
