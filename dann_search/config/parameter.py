"""One dimension of the search space: a choice, a range, and the condition under which it exists."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator

from dann_search.config.strict import Strict

Scalar = bool | int | float | str


class Condition(Strict):
    """Base of every parameter: it exists only where each name in ``when`` has one of its values."""

    when: dict[str, Scalar | Annotated[list[Scalar], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter exists given the values chosen so far."""
        return all(
            values.get(name) in (wanted if isinstance(wanted, list) else [wanted])
            for name, wanted in self.when.items()
        )

    @property
    def kind(self) -> str:
        """The key it is written under: choice, uniform, loguniform or int."""
        return type(self).__name__.lower()

    @property
    def stated(self) -> Sequence[Scalar]:
        """The values as written: every choice, or both ends of a range."""
        values: Sequence[Scalar] = getattr(self, self.kind)
        return values


class Choice(Condition):
    """One of a list of values."""

    choice: list[Scalar] = Field(min_length=1)

    def contains(self, value: object) -> bool:
        """Whether ``value`` may be sampled."""
        return value in self.choice


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if low > high:
        raise ValueError(f"low must not exceed high, got [{low}, {high}]; write [{high}, {low}]")
    return bounds


def _within(bounds: tuple[float, float], value: object) -> bool:
    return isinstance(value, int | float) and bounds[0] <= value <= bounds[1]


class Uniform(Condition):
    """A real number between low and high, both included."""

    uniform: tuple[float, float]

    _check = field_validator("uniform")(_ordered)

    def contains(self, value: object) -> bool:
        """Whether ``value`` may be sampled."""
        return _within(self.uniform, value)


class LogUniform(Condition):
    """A positive real number whose logarithm is uniform between low and high."""

    loguniform: tuple[float, float]

    @field_validator("loguniform")
    @classmethod
    def _positive(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] <= 0:
            raise ValueError(
                f"a log range needs low > 0, got [{bounds[0]:g}, {bounds[1]:g}]; "
                "use a small positive low, or uniform"
            )
        return _ordered(bounds)

    def contains(self, value: object) -> bool:
        """Whether ``value`` may be sampled."""
        return _within(self.loguniform, value)


class Int(Condition):
    """A whole number between low and high, both included."""

    # Named as users write it; within this class the type is builtins.int.
    int: tuple[builtins.int, builtins.int]

    _check = field_validator("int")(_ordered)

    def contains(self, value: object) -> bool:
        """Whether ``value`` may be sampled."""
        return _within(self.int, value) and value in range(self.int[0], self.int[1] + 1)


KINDS = ("choice", "uniform", "loguniform", "int")


def _kind(value: Any) -> str | None:
    if isinstance(value, Condition):
        return value.kind
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
