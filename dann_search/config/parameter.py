"""One dimension of the search space: a choice or a range, and when it exists."""

import builtins
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from dann_search.config.strict import FieldError, Strict

Scalar = bool | int | float | str


def step_value(low: float, step: float, index: int) -> float:
    """Return the value ``index`` steps above low in decimal arithmetic: 0.1 + 2 * 0.1 is 0.3."""
    return float(Decimal(str(low)) + index * Decimal(str(step)))


def is_one_of(value: object, wanted: object) -> bool:
    """Whether a value is the wanted one, or one of a list.

    Floats may differ in their last digits, which depend on how they were computed.
    """
    return any(_same(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))


def _same(value: object, other: object) -> bool:
    if isinstance(value, float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-15)
    return value == other


class Condition(Strict):
    """Base of every parameter, which exists only where each name in ``when`` has a listed value.

    Searched parameters that ``when`` names must exist themselves; see ``Space.applies``.
    """

    when: dict[str, Scalar | Annotated[list[Scalar], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether each name has one of its values, given those chosen so far."""
        return all(is_one_of(values.get(name), wanted) for name, wanted in self.when.items())

    @property
    def kind(self) -> str:
        """The key it is written under: choice, uniform, loguniform or int."""
        return type(self).__name__.lower()

    @property
    def stated(self) -> dict[tuple[str | builtins.int, ...], Scalar]:
        """The values in the file by their path: every choice, or both ends of each range."""
        values: Sequence[Scalar] = getattr(self, self.kind)
        return {(self.kind, index): value for index, value in enumerate(values)}

    @property
    def options(self) -> Sequence[Scalar] | None:
        """Every possible value; None for a range without steps."""
        return None


class Choice(Condition):
    """One of a list of values."""

    choice: list[Scalar] = Field(min_length=1)

    def contains(self, value: object) -> bool:
        """Whether ``value`` may be sampled."""
        return value in self.choice

    @property
    def options(self) -> Sequence[Scalar]:
        """The choices."""
        return self.choice


Bounds = tuple[float, float]


class Range(Condition):
    """Base of parameters between two bounds, which ``per_backbone`` overrides for some."""

    per_backbone: dict[str, Bounds] = Field(default_factory=dict)

    @property
    def bounds(self) -> Bounds:
        """Low and high for backbones without bounds of their own."""
        bounds: Bounds = getattr(self, self.kind)
        return bounds

    @property
    def _all_bounds(self) -> list[Bounds]:
        return [self.bounds, *self.per_backbone.values()]

    @property
    def increment(self) -> float | None:
        """Distance between neighbouring values; None for a continuous range."""
        increment: float | None = getattr(self, "step", None)
        return increment

    @property
    def stated(self) -> dict[tuple[str | builtins.int, ...], Scalar]:
        """Both ends of each range by their path."""
        found = super().stated
        for name, bounds in self.per_backbone.items():
            found |= {("per_backbone", name, index): end for index, end in enumerate(bounds)}
        return found

    def contains(self, value: object) -> bool:
        """Whether ``value`` may be sampled for any backbone."""
        return any(self.between(value, bounds) for bounds in self._all_bounds)

    @property
    def is_countable(self) -> bool:
        """Whether it has steps or a single value for every backbone."""
        return self.increment is not None or all(low == high for low, high in self._all_bounds)

    def between(self, value: object, bounds: Bounds) -> bool:
        """Whether ``value`` is between the bounds and on a step."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        low, high = bounds
        if not low <= value <= high or self.increment is None:
            return low <= value <= high
        if isinstance(self.increment, int):
            return value == int(value) and (int(value) - low) % self.increment == 0
        steps = round((value - low) / self.increment)
        return is_one_of(float(value), step_value(low, self.increment, steps))

    @property
    def options(self) -> Sequence[Scalar] | None:
        """Every value within the common bounds; None without steps."""
        return self.options_between(self.bounds)

    def options_between(self, bounds: Bounds) -> Sequence[Scalar] | None:
        """Return every value from low to high; None without steps."""
        low, high = bounds
        if self.increment is None:
            return [low] if low == high else None
        count = round((high - low) / self.increment) + 1
        if isinstance(low, int) and isinstance(self.increment, int):
            return range(low, low + count * self.increment, self.increment)
        return [min(step_value(low, self.increment, index), high) for index in range(count)]

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        for backbone, bounds in {"": self.bounds, **self.per_backbone}.items():
            if problem := self._problem(*bounds):
                path = ("per_backbone", backbone) if backbone else (self.kind,)
                raise FieldError(path, problem)
        return self

    def _problem(self, low: float, high: float) -> str:
        """Say what is wrong with bounds; empty where nothing is."""
        if low > high:
            return f"low must not exceed high, got [{low}, {high}]; write [{high}, {low}]"
        if self.increment is None:
            return ""
        steps = (high - low) / self.increment
        if abs(steps - round(steps)) <= 1e-6:
            return ""
        # The largest value would be a surprise.
        last = low + math.floor(steps) * self.increment
        return (
            f"steps of {self.increment:g} from {low:g} do not meet {high:g}; write "
            f"[{low:g}, {last:.12g}] or [{low:g}, {last + self.increment:.12g}]"
        )


class Uniform(Range):
    """A real number from low to high, both included, in multiples of ``step`` if there is one.

    ``per_backbone`` overrides the bounds for single backbones.
    """

    uniform: Bounds
    step: float | None = Field(None, gt=0)


class LogUniform(Range):
    """A positive real number whose logarithm is uniform from low to high."""

    loguniform: Bounds

    def _problem(self, low: float, high: float) -> str:
        if low <= 0:
            return (
                f"a log range needs low > 0, got [{low:g}, {high:g}]; use a small positive low, or "
                "uniform"
            )
        return super()._problem(low, high)


class Int(Range):
    """A whole number from low to high, both included, in multiples of ``step``.

    ``per_backbone`` overrides the bounds for single backbones.
    """

    # The field has the name of the key in the file, which hides the type: hence builtins.int.
    int: tuple[builtins.int, builtins.int]
    step: builtins.int = Field(1, ge=1)
    per_backbone: dict[str, tuple[builtins.int, builtins.int]] = Field(  # type: ignore[assignment]
        default_factory=dict
    )


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
