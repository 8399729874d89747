"""A searched parameter as an axis: where its values lie, and its ticks."""

import math
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
    "linear_probe_epochs": "epochs",
    "discriminator_lr_factor": "× heads",
    "extra_weight": "× lambda",
}
FEW = 7
"""Values below which every value of a range of whole numbers has a tick."""


@dataclass(frozen=True)
class Dimension:
    """One axis, from 0 at its start to 1 at its end: the values of a choice, or a range.

    A range may be logarithmic (``log``), or of whole numbers only (``whole``).
    """

    name: str
    values: list[Any] | None = None
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False

    @property
    def title(self) -> str:
        """Name and unit."""
        base, _, backbone = self.name.partition(".")
        own = own_options().get(base)
        unit = own.unit if own else UNITS.get(base)
        of = f" of {backbone}" if backbone else ""
        return f"{base}{of} ({unit})" if unit else f"{base}{of}"

    def place(self, value: Any) -> float:
        """Where a value lies, between 0 and 1."""
        if self.values is not None:
            last = len(self.values) - 1
            return self.values.index(value) / last if last and value in self.values else 0.5
        low, high, x = self.low, self.high, float(value)
        if self.log:
            low, high, x = math.log(low), math.log(high), math.log(x)
        return min(1.0, max(0.0, (x - low) / (high - low))) if high > low else 0.5

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places between 0 and 1, and their labels."""
        low, high = self.low, self.high
        if self.values is not None:
            shown = self.values
        elif self.whole and high - low < FEW:
            shown = list(range(int(low), int(high) + 1))
        elif low == high:
            shown = [low]
        else:
            middle = math.sqrt(low * high) if self.log else (low + high) / 2
            shown = [int(low), round(middle), int(high)] if self.whole else [low, middle, high]
        return [(self.place(one), number(one)) for one in shown]


def dimension(name: str, parameter: Parameter) -> Dimension:
    """Return the axis of a searched parameter, over the ranges of all backbones."""
    if isinstance(parameter, Choice):
        return Dimension(name, values=list(parameter.choice))
    assert isinstance(parameter, Range)
    bounds = [parameter.bounds, *parameter.per_backbone.values()]
    return Dimension(
        name,
        low=min(low for low, _ in bounds),
        high=max(high for _, high in bounds),
        log=isinstance(parameter, LogUniform),
        whole=isinstance(parameter, Int),
    )
