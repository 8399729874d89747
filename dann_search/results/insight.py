"""What a search says about its parameters: importance, slices, history; read from storage."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from dann_search.results.reader import open_study_trials
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_names import CONFIRMS

FEW = 10
"""With fewer completed trials, stopped ones are compared too, at an epoch that all reached."""
LEAST = 4
"""With fewer trials, the importance of a parameter is not estimated."""
MOST_COMPARED = 500
"""Most trials used to compute an importance: fANOVA takes minutes for thousands."""

Item = TypeVar("Item")
Method = Literal["fanova", "ped_anova"]


@dataclass(frozen=True)
class ParameterImportance:
    """The share of the variance of scores that a parameter explains.

    Attributes:
        name: name in the study; ``unfrozen_depth.resnet18`` is the depth of one backbone.
        importance: between 0 and 1, among the trials that have the parameter; None if they are too
            few or all have the same score.
        trials: number of those trials.
        conditional: whether other trials lack the parameter.
    """

    name: str
    importance: float | None
    trials: int
    conditional: bool


@dataclass(frozen=True)
class Importance:
    """The importance of every searched parameter, highest first, and which trials were compared."""

    parameters: list[ParameterImportance]
    compared: str


@dataclass(frozen=True)
class Point:
    """A trial in a slice or in the history."""

    trial: int
    state: str
    score: float
    value: Any = None
    best_so_far: float = math.nan


def importance(folder: ExperimentFolder, method: Method = "fanova") -> Importance:
    """Estimate importances by fANOVA (Hutter et al. 2014) or PED-ANOVA (Watanabe 2023).

    A conditional parameter is compared among the trials that have it. If its range grew during the
    search, the smallest range that contains all values is used.

    Args:
        folder: folder of the experiment.
        method: fANOVA explains the variance of all scores, PED-ANOVA what distinguishes the best.
    """
    trials, compared = _comparable(_in_common_ranges(_ended(folder)))
    names = sorted({name for trial in trials for name in trial.params})
    found, computed = [], dict[tuple[int, ...], dict[str, float] | None]()
    for name in names:
        having = [place for place, trial in enumerate(trials) if name in trial.params]
        # One computation serves all parameters that the same trials have.
        taken = tuple(evenly(having, MOST_COMPARED))
        if taken not in computed:
            computed[taken] = _importances([trials[place] for place in taken], method)
        value = _value_of(name, computed[taken])
        conditional = len(having) < len(trials)
        found.append(ParameterImportance(name, value, len(taken), conditional))
    if len(trials) > MOST_COMPARED:
        compared += f", of which {MOST_COMPARED}, evenly taken, stand for all"
    found.sort(key=lambda p: -1.0 if p.importance is None else p.importance, reverse=True)
    return Importance(found, compared)


def _in_common_ranges(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Give each parameter one range in all trials: the smallest that contains all of its ranges."""
    common: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, values in trial.distributions.items():
            common[name] = _union(common.get(name, values), values)
    found = [copy.copy(trial) for trial in trials]
    for trial in found:
        trial.distributions = {name: common[name] for name in trial.distributions}
    return found


def _union(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """Return the union of two ranges; choices cannot grow, so they are equal."""
    if isinstance(one, FloatDistribution) and isinstance(other, FloatDistribution):
        low, high = min(one.low, other.low), max(one.high, other.high)
        return FloatDistribution(low, high, log=other.log, step=other.step)
    if isinstance(one, IntDistribution) and isinstance(other, IntDistribution):
        low, high = min(one.low, other.low), max(one.high, other.high)
        return IntDistribution(low, high, log=other.log, step=other.step)
    return other


def _comparable(trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], str]:
    completed = [t for t in trials if t.state == TrialState.COMPLETE]
    if len(completed) >= FEW or not trials:
        return [_valued(t, math.inf) for t in completed], f"{len(completed)} completed trials"
    epoch = min(len(t.intermediate_values) for t in trials)
    compared = f"{len(trials)} trials by their best score within {epoch} epochs, which all had"
    return [_valued(t, epoch) for t in trials], compared


def _valued(trial: FrozenTrial, epochs: float) -> FrozenTrial:
    scores = [value for epoch, value in trial.intermediate_values.items() if epoch <= epochs]
    return create_trial(value=max(scores), params=trial.params, distributions=trial.distributions)


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most ``most`` of the items, evenly spaced."""
    count = min(len(items), most)
    return [items[place * len(items) // count] for place in range(count)]


def _importances(trials: list[FrozenTrial], method: Method) -> dict[str, float] | None:
    """Return the importance of every parameter that all trials have; None if trials are too few."""
    if len(trials) < LEAST or len({t.value for t in trials}) < 2:
        return None
    # Imports scikit-learn, which whoever reads a search has no need of.
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    common = set.intersection(*(set(t.params) for t in trials))
    by_fanova = method == "fanova"
    evaluator = FanovaImportanceEvaluator(seed=0) if by_fanova else PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(
        study, evaluator=evaluator, params=sorted(common)
    )


def _value_of(name: str, importances: dict[str, float] | None) -> float | None:
    value = math.nan if importances is None else float(importances.get(name, 0.0))
    return value if math.isfinite(value) else None


def slices(folder: ExperimentFolder) -> dict[str, list[Point]]:
    """Return score against value by parameter, over all trials that ended with a score."""
    found: dict[str, list[Point]] = {}
    for trial in _ended(folder):
        for name, value in trial.params.items():
            found.setdefault(name, []).append(
                Point(trial.number, _state(trial), _score(trial), value)
            )
    return found


def history(folder: ExperimentFolder) -> list[Point]:
    """Return trials in the order of their end, each with the best completed score until then."""
    points, best = [], -math.inf
    trials = sorted(_ended(folder), key=lambda t: (str(t.datetime_complete), t.number))
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            best = max(best, _score(trial))
        points.append(Point(trial.number, _state(trial), _score(trial), best_so_far=best))
    return points


def _ended(folder: ExperimentFolder) -> list[FrozenTrial]:
    """Return the trials that are over and have a score, without those that confirm a finalist."""
    over = (TrialState.COMPLETE, TrialState.PRUNED)
    return [
        trial
        for trial in open_study_trials(folder)
        if trial.state in over and trial.intermediate_values and CONFIRMS not in trial.user_attrs
    ]


def _score(trial: FrozenTrial) -> float:
    return max(trial.intermediate_values.values())


def _state(trial: FrozenTrial) -> str:
    return "completed" if trial.state == TrialState.COMPLETE else "pruned"
