"""The search space in sampling order: every condition resolved, every value a trial could get checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from dann_search.config.experiment import Experiment
from dann_search.config.parameter import Choice, Int, LogUniform, Parameter, Uniform
from dann_search.config.source import KeyPath
from dann_search.config.trial import IMPLIED_CONDITIONS, TrialConfig
from dann_search.errors import nearest

NOT_SEARCHED = ("epochs", "seed")


class SpaceError(ValueError):
    """A space that cannot be searched, with the path of the key at fault."""

    def __init__(self, path: KeyPath, message: str):
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class Space:
    """Dimensions in an order in which every condition's names come before it.

    ``stages`` maps each backbone to its number of stages, the upper limit of its unfrozen depth.
    """

    parameters: dict[str, Parameter]
    fixed: TrialConfig
    stages: Mapping[str, int]

    def depth_range(self, backbone: str) -> tuple[int, int]:
        """The range of unfrozen depth for one backbone: the space's, clipped to the stages it has."""
        parameter = self.parameters["unfrozen_depth"]
        assert isinstance(parameter, Int)
        low, high = parameter.int
        top = self.stages[backbone]
        return min(low, top), min(high, top)

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The searched parameters that apply to a recipe, with their values."""
        return {name: values[name] for name, p in self.parameters.items() if p.holds(values)}

    @property
    def backbones(self) -> list[str]:
        """Every backbone a trial could get."""
        parameter = self.parameters.get("backbone")
        if isinstance(parameter, Choice):
            return [str(name) for name in parameter.choice]
        return [self.fixed.backbone]


def build_space(experiment: Experiment, stages: Mapping[str, int]) -> Space:
    """Order and check the space of an experiment.

    Raises:
        SpaceError: an unknown name, backbone or condition, a cycle of conditions, or a value that
            no trial could be given.
    """
    fixed = experiment.fixed
    for name in experiment.space:
        _check_name(name, experiment)
    conditioned = {name: _with_implied(name, p, experiment) for name, p in experiment.space.items()}
    space = Space(_in_order(conditioned), fixed, stages)
    _check_backbones(space)
    _check_depth(space)
    for name, parameter in space.parameters.items():
        _check_values(name, parameter, fixed)
    return space


def _check_name(name: str, experiment: Experiment) -> None:
    valid = [field for field in TrialConfig.model_fields if field not in NOT_SEARCHED]
    if name not in valid:
        hint = (
            "it is fixed for all trials; write it under training"
            if name in NOT_SEARCHED
            else nearest(name, valid)
        )
        raise SpaceError(("space", name), f"'{name}' cannot be searched; {hint}")
    if name in experiment.training:
        raise SpaceError(
            ("space", name), f"'{name}' is fixed under training and searched here; keep one"
        )


def _with_implied(name: str, parameter: Parameter, experiment: Experiment) -> Parameter:
    known = [*experiment.space, *TrialConfig.model_fields]
    for other in parameter.when:
        if other not in known or other == name:
            what = "itself" if other == name else f"'{other}', which is no parameter"
            raise SpaceError(
                ("space", name, "when"), f"depends on {what}; {nearest(other, set(known) - {name})}"
            )
        _check_condition(name, other, parameter, experiment)
    return parameter.model_copy(
        update={"when": {**IMPLIED_CONDITIONS.get(name, {}), **parameter.when}}
    )


def _check_condition(name: str, other: str, parameter: Parameter, experiment: Experiment) -> None:
    wanted = parameter.when[other]
    for value in wanted if isinstance(wanted, list) else [wanted]:
        governing = experiment.space.get(other)
        possible = (
            governing.contains(value) if governing else getattr(experiment.fixed, other) == value
        )  # type: ignore[arg-type]
        if not possible:
            options = governing.choice if isinstance(governing, Choice) else "see " + other
            hint = nearest(value, map(str, options)) if isinstance(options, list) else options
            raise SpaceError(("space", name, "when", other), f"{other} never is {value!r}; {hint}")


def _in_order(parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """File order, except that a parameter waits for those its condition names."""
    ordered: dict[str, Parameter] = {}
    waiting = dict(parameters)
    while waiting:
        ready = [n for n, p in waiting.items() if not any(other in waiting for other in p.when)]
        # Which stages there are depends on the backbone, so its depth is chosen after it.
        if "unfrozen_depth" in ready and "backbone" in waiting:
            ready.remove("unfrozen_depth")
        if not ready:
            name = next(iter(waiting))
            raise SpaceError(
                ("space", name, "when"), f"conditions form a cycle: {' -> '.join(waiting)}"
            )
        name = ready[0]
        ordered[name] = waiting.pop(name)
    return ordered


def _check_backbones(space: Space) -> None:
    searched = "backbone" in space.parameters
    for index, name in enumerate(space.backbones):
        if name not in space.stages:
            path: KeyPath = (
                ("space", "backbone", "choice", index) if searched else ("training", "backbone")
            )
            raise SpaceError(path, f"unknown backbone '{name}'; {nearest(name, space.stages)}")


def _check_depth(space: Space) -> None:
    deepest = max(space.backbones, key=lambda name: space.stages[name])
    limit = space.stages[deepest]
    fixed, parameter = space.fixed.unfrozen_depth, space.parameters.get("unfrozen_depth")
    if fixed is not None and fixed > limit:
        raise SpaceError(
            ("training", "unfrozen_depth"), f"must be at most {limit} for {deepest}, got {fixed}"
        )
    if parameter is None:
        return
    if not isinstance(parameter, Int):
        raise SpaceError(("space", "unfrozen_depth"), "must be a range such as {int: [0, 4]}")
    if parameter.int[1] > limit:
        raise SpaceError(
            ("space", "unfrozen_depth", "int"),
            f"must be at most {limit} for {deepest}, got {parameter.int[1]}",
        )


def _check_values(name: str, parameter: Parameter, fixed: TrialConfig) -> None:
    """Give each end of a range, and each choice, to a trial: what it refuses is refused here."""
    match parameter:
        case Choice(choice=values):
            kind, candidates = "choice", list(values)
        case Uniform(uniform=ends):
            kind, candidates = "uniform", list(ends)
        case LogUniform(loguniform=ends):
            kind, candidates = "loguniform", list(ends)
        case Int(int=whole):
            kind, candidates = "int", list(whole)
    for index, value in enumerate(candidates):
        try:
            TrialConfig.model_validate({**fixed.model_dump(), name: value})
        except ValidationError as exc:
            raise SpaceError(("space", name, kind, index), describe(exc.errors()[0])) from None


def describe(error: Any) -> str:
    """One pydantic error in the words of our messages: the rule and the value found."""
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if error["type"] == "value_error":
        return str(message)
    return f"{message}, got {error['input']!r}"
