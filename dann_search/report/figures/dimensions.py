"""A searched parameter as an axis: where its values lie and how they are written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dann_search.config.parameter import Choice, Int, LogUniform, Parameter, Range
from dann_search.config.trial import own_options
from dann_search.report.figures.plot import number

UNITS = {
    "unfrozen_depth": "stages",
    "batch_size": "images a domain",
    "lambda_warmup": "share of training",
    "lambda_delay": "share of training",
    "head_lr_factor": "× backbone",
    "bottleneck": "units",
    "discriminator_width": "units",
    "discriminator_depth": "layers",
    "gradual_unfreezing": "epochs a stage",
}
FEW = 7
"""Values of which each is written at its place."""


@dataclass(frozen=True)
class Dimension:
    """One axis.

    Attributes:
        name: the parameter's.
        values: of a choice, in their order; None for a range.
        low, high: of a range.
        log: whether the range is logarithmic.
        whole: whether it has whole numbers only.
    """

    name: str
    values: list[Any] | None = None
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False

    @property
    def title(self) -> str:
        """The name with its unit."""
        base, _, backbone = self.name.partition(".")
        own = own_options().get(base)
        unit = own.unit if own else UNITS.get(base)
        of = f" of {backbone}" if backbone else ""
        return f"{base}{of} ({unit})" if unit else f"{base}{of}"

    def place(self, value: Any) -> float:
        """Between 0 and 1."""
        if self.values is not None:
            last = len(self.values) - 1
            return self.values.index(value) / last if last and value in self.values else 0.5
        low, high, x = self.low, self.high, float(value)
        if self.log:
            low, high, x = math.log(low), math.log(high), math.log(x)
        return min(1.0, max(0.0, (x - low) / (high - low))) if high > low else 0.5

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places between 0 and 1, and what is written there."""
        if self.values is not None:
            return [(self.place(value), number(value)) for value in self.values]
        if self.whole and self.high - self.low < FEW:
            steps = range(int(self.low), int(self.high) + 1)
            return [(self.place(step), str(step)) for step in steps]
        if self.low == self.high:
            return [(0.5, number(self.low))]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        ends: list[Any] = [self.low, middle, self.high]
        if self.whole:
            ends = [int(self.low), round(middle), int(self.high)]
        return [(self.place(end), number(end)) for end in ends]


def dimension(name: str, parameter: Parameter) -> Dimension:
    """The axis of a searched parameter, over the ranges of all backbones."""
    if isinstance(parameter, Choice):
        return Dimension(name, values=list(parameter.choice))
    assert isinstance(parameter, Range)
    bounds = [parameter.bounds, *parameter.own_bounds.values()]
    return Dimension(
        name,
        low=min(low for low, _ in bounds),
        high=max(high for _, high in bounds),
        log=isinstance(parameter, LogUniform),
        whole=isinstance(parameter, Int),
    )


def dimensions(space: Mapping[str, Parameter]) -> list[Dimension]:
    """One a searched parameter, in the order of the file."""
    return [dimension(name, parameter) for name, parameter in space.items()]
