"""The study as a sampler should see it: stopped trials by their best epoch, failures, ranges.

TPE ranks every stopped trial below every completed one, and stopped trials by their length. Most
trials are stopped, and the best of those are better than the worst completed ones: their scores
say more than their lengths (docs/benchmarks.md).

A trial that diverged, or for which memory did not suffice, counts as the worst that was seen:
samplers pass failed trials over, and would propose what fails again and again. It stays a failed
one in the study. Other failures say nothing about the recipe.

Optuna's samplers read the range of a parameter from the trials: the first one, or none where trials
differ. In a study whose ranges have grown they would stay within the old ones. Trials of another
experiment carry a constraint that keeps them from being the study's best; a sampler would take it
for a bad result.
"""

import copy
import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.trial import FrozenTrial, TrialState

from dann_search.study.study_names import ERROR
from dann_search.training.result import is_of_the_recipe

Ranges = Mapping[str, BaseDistribution]
CONSTRAINTS = "constraints"
"""Prefix of the system attributes in which Optuna keeps a trial's constraints."""
BAD = "failed_by_its_recipe"
"""System attribute of a copy that stands for a failed trial."""


def _seen(trial: FrozenTrial, ranges: Ranges) -> FrozenTrial:
    seen = copy.copy(trial)
    seen.distributions = {n: ranges.get(n, old) for n, old in trial.distributions.items()}
    attributes = trial.system_attrs.items()
    seen.system_attrs = {k: v for k, v in attributes if not k.startswith(CONSTRAINTS)}
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        seen.state = TrialState.COMPLETE
        seen.values = [max(trial.intermediate_values.values())]
    return seen


def _is_bad(trial: FrozenTrial) -> bool:
    """Whether a trial failed by its own recipe."""
    return trial.state == TrialState.FAIL and is_of_the_recipe(trial.user_attrs.get(ERROR, ""))


def _tell_bad(trials: Sequence[FrozenTrial]) -> None:
    """Give trials that failed by their own recipe, copies all, the worst value of the others.

    As long as there is no other they stay failed: the best of them would be no better than they.
    """
    bad = [trial for trial in trials if _is_bad(trial) or BAD in trial.system_attrs]
    if not bad:
        return
    done = [t for t in trials if t.state == TrialState.COMPLETE and BAD not in t.system_attrs]
    values = [t.value for t in done if t.value is not None and math.isfinite(t.value)]
    for trial in bad if values else ():
        trial.state, trial.values = TrialState.COMPLETE, [min(values)]
        trial.system_attrs[BAD] = True


class StudyView:
    """A study, or a pruner's bracket of one, with other trials; the rest is passed through."""

    def __init__(self, study: optuna.Study, ranges: Ranges, known: dict[int, FrozenTrial]):
        self._study_behind, self._ranges, self._known = study, ranges, known
        """Cache of finished trials, which do not change: samplers ask for all of them each time."""

    def _as_seen(
        self, trials: list[FrozenTrial], states: Container[TrialState] | None
    ) -> list[FrozenTrial]:
        """Select by state after the change, as a stopped trial becomes a completed one."""
        found = []
        for trial in trials:
            seen = self._known.get(trial.number)
            if seen is None:
                seen = _seen(trial, self._ranges)
                if trial.state.is_finished():
                    self._known[trial.number] = seen
            found.append(seen)
        _tell_bad(found)
        return [seen for seen in found if states is None or seen.state in states]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study_behind, name)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials."""
        return self.get_trials()

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in ``states``, as the sampler should see them."""
        return self._as_seen(self._study_behind.get_trials(deepcopy), states)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        """Do the same for Optuna's own samplers, which call this private method."""
        return self._as_seen(self._study_behind._get_trials(deepcopy, use_cache=use_cache), states)


def _through_view(method: str) -> Any:
    """Return a method of ``BaseSampler`` that has the sampler do it on the view of the study."""

    def call(self: "ViewingSampler", study: optuna.Study, *arguments: Any, **options: Any) -> Any:
        view = StudyView(study, self.ranges, self._known)
        return getattr(self.sampler, method)(view, *arguments, **options)

    return call


class ViewingSampler(BaseSampler):
    """Wrap a sampler so that it sees a ``StudyView`` whose parameters have ``ranges``."""

    def __init__(self, sampler: BaseSampler, ranges: Ranges):
        self.sampler, self.ranges = sampler, ranges
        self._known: dict[int, FrozenTrial] = {}

    def reseed_rng(self) -> None:
        """As the sampler does."""
        self.sampler.reseed_rng()

    infer_relative_search_space = _through_view("infer_relative_search_space")
    sample_relative = _through_view("sample_relative")
    sample_independent = _through_view("sample_independent")
    before_trial = _through_view("before_trial")
    after_trial = _through_view("after_trial")


class OwnCmaEs(CmaEsSampler):
    """CMA-ES that ignores an optimizer's state that this process did not write.

    Optuna keeps the optimizer pickled in the study, where anyone may have put it. A resumed search
    begins a new generation with the solutions that the study has.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._ours: set[int] = set()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Remember which trials carry our state: not one that brings it from an earlier run."""
        if not any(key.startswith(self._attr_key_optimizer) for key in trial.system_attrs):
            self._ours.add(trial._trial_id)
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        ours = [trial for trial in completed_trials if trial._trial_id in self._ours]
        return super()._restore_optimizer(ours)
