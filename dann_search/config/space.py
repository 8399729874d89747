"""The search space in sampling order, with its conditions resolved and its values checked."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.messages import describe, shown
from dann_search.config.parameter import Choice, Int, Parameter, Range
from dann_search.config.source import KeyPath, SettingError
from dann_search.config.strict import leaf_types
from dann_search.config.trial import AUTO, TrialConfig, implied_conditions
from dann_search.errors import InputError, nearest

NOT_SEARCHED = ("epochs", "seed")


@dataclass(frozen=True)
class Space:
    """The dimensions of a search.

    Attributes:
        parameters: by name, each after the parameters that its condition names.
        fixed: values of everything that is not searched.
        stages: number of stages by backbone, the largest unfrozen depth.
        precisions: what the precision ``auto`` stands for, by backbone.
    """

    parameters: dict[str, Parameter]
    fixed: TrialConfig
    stages: Mapping[str, int]
    precisions: Mapping[str, str] = field(default_factory=dict)

    def settled(self, config: TrialConfig) -> TrialConfig:
        """Return a recipe with the precision that ``auto`` stands for: fp32 where unknown."""
        if config.precision != AUTO:
            return config
        precision = self.precisions.get(config.backbone, "fp32")
        return config.model_copy(update={"precision": precision})

    def bounds(self, name: str, backbone: str) -> tuple[float, float]:
        """Return low and high for one backbone; depths are clipped to the stages it has."""
        parameter = self.parameters[name]
        assert isinstance(parameter, Range)
        low, high = parameter.per_backbone.get(backbone, parameter.bounds)
        if name != "unfrozen_depth":
            return low, high
        step, top = parameter.increment or 1, self.stages[backbone]
        low = min(low, top)
        return low, low + (min(high, top) - low) // step * step

    def by_backbone(self, name: str, backbone: str) -> bool:
        """Whether the values of a parameter for this backbone are a dimension of their own.

        A sampler must not mix them with those of other backbones: depth 2 means something else in
        each, and so does a value of another range.
        """
        if len(self.backbones) < 2:
            return False
        parameter = self.parameters[name]
        own = isinstance(parameter, Range) and backbone in parameter.per_backbone
        return own or name == "unfrozen_depth"

    def options(self, name: str, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """Return every value of a parameter given earlier ones; None for a range without steps."""
        parameter = self.parameters[name]
        if not isinstance(parameter, Range):
            return parameter.options
        return parameter.options_between(self.bounds(name, values["backbone"]))

    def contains(self, name: str, value: object, backbone: str) -> bool:
        """Whether a parameter may have ``value`` for this backbone."""
        parameter = self.parameters[name]
        if isinstance(parameter, Range):
            return parameter.between(value, self.bounds(name, backbone))
        return parameter.contains(value)

    def applies(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a searched parameter exists in a recipe.

        It does not where its condition names a searched parameter that does not exist itself.
        """
        parameter = self.parameters[name]
        named = [other for other in parameter.when if other in self.parameters]
        return parameter.holds(values) and all(self.applies(other, values) for other in named)

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the searched parameters that apply to a recipe, with their values."""
        return {name: values[name] for name in self.parameters if self.applies(name, values)}

    @property
    def backbones(self) -> list[str]:
        """Every backbone that a trial may have."""
        parameter = self.parameters.get("backbone")
        if isinstance(parameter, Choice):
            return [str(name) for name in parameter.choice]
        return [self.fixed.backbone]


def build_space(experiment: ExperimentConfig, stages: Mapping[str, int]) -> Space:
    """Order and check the space of an experiment.

    Raises:
        SettingError: a name, backbone or condition is unknown, conditions form a cycle, or no trial
            could have one of the values.
    """
    fixed = experiment.fixed
    checked: dict[str, Parameter] = {}
    for name, parameter in experiment.space.items():
        _check_name(name, experiment)
        _check_kind(name, parameter)
        checked[name] = _with_trial_values(name, parameter, fixed)
    implied = implied_conditions()
    conditioned = {
        name: _with_implied(name, parameter, implied.get(name, {}), checked, fixed)
        for name, parameter in checked.items()
    }
    space = Space(_in_order(conditioned), fixed, stages)
    _check_backbones(space)
    _check_limits(space, experiment.resources.workers_per_trial)
    if experiment.search.sampler == "grid":
        _check_countable(space)
    return space


def _check_name(name: str, experiment: ExperimentConfig) -> None:
    path = ("space", name)
    if name in NOT_SEARCHED:
        raise SettingError(path, f"'{name}' is the same for all trials; write it under training")
    valid = [field for field in TrialConfig.model_fields if field not in NOT_SEARCHED]
    if name not in valid:
        raise SettingError(path, f"unknown parameter {name!r}; {nearest(name, valid)}")
    if name in experiment.training:
        raise SettingError(path, f"'{name}' is fixed under training and searched here; keep one")


def _check_kind(name: str, parameter: Parameter) -> None:
    if isinstance(parameter, Choice):
        fits = name != "unfrozen_depth"
    else:
        types = leaf_types(TrialConfig.model_fields[name].annotation)
        fits = float in types or (int in types and isinstance(parameter, Int))
    if not fits:
        kinds = {"unfrozen_depth": "{int: [0, 4]}", "batch_size": "{choice: [32, 64]}"}
        example = kinds.get(name, "{choice: […]}")
        message = f"cannot be searched by {parameter.kind}; write it like {example}"
        raise SettingError(("space", name, parameter.kind), message)


def _with_trial_values(name: str, parameter: Parameter, fixed: TrialConfig) -> Parameter:
    """Return the parameter with its values as a trial holds them; refuse what a trial would."""
    values = []
    for place, value in parameter.stated.items():
        try:
            config = TrialConfig.model_validate({**fixed.model_dump(), name: value})
        except ValidationError as exc:
            raise SettingError(("space", name, *place), describe(exc.errors())) from None
        values.append(getattr(config, name))
    if not isinstance(parameter, Choice):
        return parameter
    if name == "precision" and AUTO in values:
        path: KeyPath = ("space", name, "choice", values.index(AUTO))
        raise SettingError(path, "'auto' stands for one of the others; write it under training")
    if len(set(values)) < len(values):
        path = ("space", name, "choice")
        raise SettingError(path, f"the same value twice in {shown(list(parameter.choice))}")
    return parameter.model_copy(update={"choice": values})


def _with_implied(
    name: str,
    parameter: Parameter,
    conditions: Mapping[str, str | list[str]],
    searched: Mapping[str, Parameter],
    fixed: TrialConfig,
) -> Parameter:
    """Return the parameter under its own conditions and those without which it has no effect."""
    for other, wanted in parameter.when.items():
        path: KeyPath = ("space", name, "when", other)
        known = set(TrialConfig.model_fields) - {name}
        if other == name:
            raise SettingError(path, f"'{name}' cannot depend on itself")
        if other not in known:
            raise SettingError(path, f"unknown parameter {other!r}; {nearest(other, known)}")
        for value in wanted if isinstance(wanted, list) else [wanted]:
            if problem := _never(other, value, searched.get(other), fixed):
                raise SettingError(path, problem)
    when: dict[str, Any] = {**conditions, **parameter.when}
    for other, implied in conditions.items():
        stated, possible = when[other], implied if isinstance(implied, list) else [implied]
        if isinstance(stated, list):
            when[other] = [value for value in stated if value in possible]
        if when[other] == [] or (not isinstance(stated, list) and stated not in possible):
            raise SettingError(
                ("space", name, "when", other),
                f"'{name}' has no effect where {other} is {shown(stated)}, "
                f"only where it is {' or '.join(possible)}",
            )
    return parameter.model_copy(update={"when": when})


def _never(other: str, value: object, governing: Parameter | None, fixed: TrialConfig) -> str:
    """Say why parameter ``other`` is never ``value``; empty where it may be."""
    if governing is None:
        held = getattr(fixed, other)
        return "" if held == value else f"never {shown(value)}: {other} is fixed at {shown(held)}"
    if governing.contains(value):
        if not isinstance(governing, Range) or governing.is_countable:
            return ""
        return (
            f"{other} is hardly ever exactly {shown(value)}, for it has no steps; "
            "give it a step, or {choice: […]}"
        )
    if isinstance(governing, Choice):
        return f"{other} is never {shown(value)}; {nearest(value, map(str, governing.choice))}"
    low, high = governing.bounds
    steps = f" in steps of {governing.increment:g}" if governing.increment else ""
    return f"{other} is never {shown(value)}, only between {low} and {high}{steps}"


def _in_order(parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """Return the parameters in file order, each after those that its condition names."""
    ordered: dict[str, Parameter] = {}
    waiting = dict(parameters)

    def blockers(name: str) -> list[str]:
        # The range of a depth depends on the backbone.
        parameter = waiting[name]
        own = isinstance(parameter, Range) and parameter.per_backbone
        needed = [*parameter.when, *(["backbone"] if own or name == "unfrozen_depth" else [])]
        return [other for other in needed if other in waiting]

    while waiting:
        ready = next((name for name in waiting if not blockers(name)), None)
        if ready is None:
            cycle = [next(iter(waiting))]
            while cycle[-1] not in cycle[:-1]:
                cycle.append(blockers(cycle[-1])[0])
            cycle = cycle[cycle.index(cycle[-1]) :]
            message = f"conditions form a cycle: {' -> '.join(cycle)}"
            raise SettingError(("space", cycle[0], "when"), message)
        ordered[ready] = waiting.pop(ready)
    return ordered


def unknown_backbone(name: str, stages: Mapping[str, int]) -> str:
    """Say that there is no such backbone, and which one was probably meant."""
    # Looked up on demand: timm has a thousand, which are not listed.
    with contextlib.suppress(InputError):
        if f"timm/{name}" in stages:
            return f"unknown backbone {name!r}; did you mean 'timm/{name}'?"
    return f"unknown backbone {name!r}; {nearest(name, stages)}"


def _check_backbones(space: Space) -> None:
    searched = "backbone" in space.parameters
    for index, name in enumerate(space.backbones):
        if name not in space.stages:
            place: KeyPath = ("space", "backbone", "choice", index)
            path = place if searched else ("training", "backbone")
            raise SettingError(path, unknown_backbone(name, space.stages))
    for name, parameter in space.parameters.items():
        for backbone in parameter.per_backbone if isinstance(parameter, Range) else ():
            if backbone not in space.backbones:
                path = ("space", name, "per_backbone", backbone)
                message = f"no trial has this backbone; {nearest(backbone, space.backbones)}"
                raise SettingError(path, message)


def _check_limits(space: Space, workers: int) -> None:
    """Check values whose limits depend on other settings.

    No backbone may lack the stages to train, a probe must leave epochs in which stages are trained,
    and batch norm needs two images a worker.
    """
    deepest = max(space.backbones, key=lambda name: space.stages[name])
    for path, depth in _stated(space, "unfrozen_depth"):
        own = path[2:3] == ("per_backbone",)
        limit = space.stages[str(path[-1]) if own else deepest]
        if depth is not None and depth > limit:
            of = "" if own else f" for {deepest}"
            raise SettingError(path, f"must be at most {limit}{of}, got {depth}")
    epochs = space.fixed.epochs
    for path, probe in _stated(space, "linear_probe_epochs"):
        if probe >= epochs:
            raise SettingError(path, f"must be less than epochs ({epochs}), got {probe}")
    for path, size in _stated(space, "batch_size"):
        if size < 2 * workers:
            raise SettingError(
                path if path[0] == "space" else ("resources", "workers_per_trial"),
                f"batch_size must be at least {2 * workers}, two images for each of {workers} "
                f"workers, got {size}",
            )


def _stated(space: Space, name: str) -> list[tuple[KeyPath, Any]]:
    """Return all values that the file states of a setting, each with the key that it is under."""
    if name not in space.parameters:
        return [(("training", name), getattr(space.fixed, name))]
    stated = space.parameters[name].stated
    return [(("space", name, *place[:-1]), value) for place, value in stated.items()]


def _check_countable(space: Space) -> None:
    for name, parameter in space.parameters.items():
        if any(space.options(name, {"backbone": one}) is None for one in space.backbones):
            steps = "" if parameter.kind == "loguniform" else "a step, or "
            message = f"'grid' needs values it can count, and {parameter.kind} has none; write "
            raise SettingError(("space", name), f"{message}{steps}{{choice: […]}}")
