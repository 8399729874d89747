"""A search space in words: its dimensions, how many configurations it has, and some of them."""

from dataclasses import dataclass
from typing import Any

import optuna
from rich.console import Group
from rich.table import Table
from rich.text import Text

from dann_search.config.experiment import Experiment
from dann_search.config.grid import combinations
from dann_search.config.parameter import Choice, Int, LogUniform, Parameter, Range
from dann_search.config.space import Space
from dann_search.study.pruning import describe_scheduler
from dann_search.study.suggest import suggest
from dann_search.tracking.progress import describe


@dataclass(frozen=True)
class Explanation:
    """What ``dann-search space`` shows.

    Attributes:
        space: the space.
        scheduler: what stops trials, in words.
        combinations: number of configurations; None where some range has no steps.
        samples: the searched values of some configurations.
    """

    space: Space
    scheduler: str
    combinations: int | None
    samples: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """As ``space --json`` prints it."""
        return {
            "parameters": [
                {"name": name, "kind": p.kind, "range": _range(p), **_details(p), "when": p.when}
                for name, p in self.space.parameters.items()
            ],
            "combinations": self.combinations,
            "scheduler": self.scheduler,
            "samples": self.samples,
        }

    def render(self) -> Group:
        """As people read it."""
        table = Table(box=None, pad_edge=False)
        for column in ("parameter", "values", "where"):
            table.add_column(column, overflow="fold")
        for name, parameter in self.space.parameters.items():
            table.add_row(name, in_words(parameter), _where(parameter, self.space))
        count = f"{self.combinations:,}" if self.combinations else "no end (ranges without a step)"
        lines = [f"configurations: {count}", f"early stopping: {self.scheduler}", ""]
        shown = [f"sample {n}: {describe(sample)}" for n, sample in enumerate(self.samples, 1)]
        return Group(table, Text(""), *(Text(line, overflow="fold") for line in [*lines, *shown]))


def explain(experiment: Experiment, space: Space, samples: int = 5) -> Explanation:
    """Sample some configurations at random and say what the space is."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=experiment.search.seed)
    study = optuna.create_study(sampler=sampler)
    found = [space.active(suggest(study.ask(), space).model_dump()) for _ in range(samples)]
    scheduler = describe_scheduler(experiment.search.scheduler, space.fixed.epochs)
    return Explanation(space, scheduler, combinations(space), found)


def in_words(parameter: Parameter) -> str:
    """Return the values of a parameter on one line."""
    if isinstance(parameter, Choice):
        return ", ".join(map(str, parameter.choice))
    own = [f"{_between(b)} for {name}" for name, b in parameter.per_backbone.items()]
    log = ", logarithmic" if isinstance(parameter, LogUniform) else ""
    whole = "whole numbers " if isinstance(parameter, Int) else ""
    step = parameter.increment
    steps = "" if step is None or (isinstance(parameter, Int) and step == 1) else f" by {step:g}"
    return "; ".join([f"{whole}{_between(parameter.bounds)}{steps}{log}", *own])


def _between(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def _where(parameter: Parameter, space: Space) -> str:
    """Return the condition as far as it depends on what is searched."""
    parts = []
    for name, wanted in parameter.when.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if name in space.parameters:
            parts.append(f"{name} is {' or '.join(map(str, values))}")
        elif (held := getattr(space.fixed, name)) not in values:
            return f"never: {name} is {held}"
    return " and ".join(parts)


def _range(parameter: Parameter) -> list[Any]:
    return list(parameter.choice if isinstance(parameter, Choice) else parameter.bounds)


def _details(parameter: Parameter) -> dict[str, Any]:
    if not isinstance(parameter, Range):
        return {"step": None, "per_backbone": {}}
    own = {name: list(bounds) for name, bounds in parameter.own_bounds.items()}
    return {"step": parameter.increment, "per_backbone": own}
