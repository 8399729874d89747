"""CMA-ES that reads no pickle from a file."""

from typing import Any

import optuna
from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial


class OwnCmaEs(CmaEsSampler):
    """Ignores an optimizer's state that this process did not write.

    Optuna keeps the optimizer pickled in the study, where anyone may have put it. A resumed search
    begins a new generation with the solutions that the study has.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._ours: set[int] = set()

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, optuna.distributions.BaseDistribution],
    ) -> dict[str, Any]:
        """Remember which trials carry our state: not one that brings it from an earlier run."""
        if not any(key.startswith(self._attr_key_optimizer) for key in trial.system_attrs):
            self._ours.add(trial._trial_id)
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        ours = [trial for trial in completed_trials if trial._trial_id in self._ours]
        return super()._restore_optimizer(ours)
