"""The study as a sampler should see it: stopped trials by their best epoch, current ranges.

TPE ranks every stopped trial below every completed one, and stopped trials by their length. Most
trials are stopped, and the best of those are better than the worst completed ones: their scores
say more than their lengths (docs/benchmarks.md).

Optuna's samplers read the range of a parameter from the trials: the first one, or none where trials
differ. In a study whose ranges have grown they would stay within the old ones. Trials of another
experiment carry a constraint that keeps them from being the study's best; a sampler would take it
for a bad result.
"""

import copy
from collections.abc import Container, Mapping, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

Ranges = Mapping[str, BaseDistribution]
CONSTRAINTS = "constraints"
"""Prefix of the system attributes in which Optuna keeps a trial's constraints."""


def _differs(trial: FrozenTrial, ranges: Ranges) -> bool:
    grown = any(ranges.get(name, old) != old for name, old in trial.distributions.items())
    return grown or trial.state == TrialState.PRUNED or bool(trial.constraints)


def _seen(trial: FrozenTrial, ranges: Ranges) -> FrozenTrial:
    if not _differs(trial, ranges):
        return trial
    seen = copy.copy(trial)
    seen.distributions = {n: ranges.get(n, old) for n, old in trial.distributions.items()}
    attributes = trial.system_attrs.items()
    seen.system_attrs = {k: v for k, v in attributes if not k.startswith(CONSTRAINTS)}
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        seen.state = TrialState.COMPLETE
        seen.values = [max(trial.intermediate_values.values())]
    return seen


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
            if states is None or seen.state in states:
                found.append(seen)
        return found

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


class ViewingSampler(BaseSampler):
    """Wrap a sampler so that it sees a ``StudyView`` whose parameters have ``ranges``."""

    def __init__(self, sampler: BaseSampler, ranges: Ranges):
        self.sampler, self.ranges = sampler, ranges
        self._known: dict[int, FrozenTrial] = {}

    def _view(self, study: optuna.Study) -> optuna.Study:
        return cast(optuna.Study, StudyView(study, self.ranges, self._known))

    def reseed_rng(self) -> None:
        """As the sampler does."""
        self.sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Of the view."""
        return self.sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """From the view."""
        return self.sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """From the view."""
        return self.sampler.sample_independent(
            self._view(study), trial, param_name, param_distribution
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the sampler does."""
        self.sampler.before_trial(self._view(study), trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the sampler does."""
        self.sampler.after_trial(self._view(study), trial, state, values)
