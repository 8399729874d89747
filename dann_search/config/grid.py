"""The configurations of a space one after another, where they can be counted."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from dann_search.config.parameter import Range
from dann_search.config.space import Space


def combinations(space: Space) -> int | None:
    """How many configurations there are; None where some range has no steps."""
    governing = {name for p in space.parameters.values() for name in p.when}
    own = any(isinstance(p, Range) and p.per_backbone for p in space.parameters.values())
    if own or "unfrozen_depth" in space.parameters:
        governing.add("backbone")

    def count(names: Sequence[str], values: dict[str, Any]) -> float:
        if not names:
            return 1
        name, *rest = names
        if not space.applies(name, values):
            return count(rest, values)
        options = space.options(name, values)
        if options is None:
            return math.inf
        # Only what others depend on must be followed value by value: a space may have 10 to the 9.
        if name in governing:
            return sum(count(rest, {**values, name: option}) for option in options)
        return len(options) * count(rest, values)

    total = count(list(space.parameters), space.fixed.model_dump())
    return None if math.isinf(total) else int(total)


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """List the searched values of every configuration of a countable space, in its order."""

    def walk(names: Sequence[str], values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not names:
            yield space.active(values)
            return
        name, *rest = names
        if not space.applies(name, values):
            yield from walk(rest, values)
            return
        options = space.options(name, values)
        assert options is not None, name
        for option in options:
            yield from walk(rest, {**values, name: option})

    return walk(list(space.parameters), space.fixed.model_dump())
