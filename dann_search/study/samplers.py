"""Which of Optuna's samplers proposes configurations."""

import importlib.util
import warnings
from typing import Any

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.trial import FrozenTrial

from dann_search.config.experiment import SearchConfig
from dann_search.config.source import SettingError


def check_sampler(sampler: str) -> None:
    """Have the sampler's package at hand before anything is started.

    Raises:
        InputError: it is not installed.
    """
    if sampler == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise SettingError(
            ("search", "sampler"),
            "cmaes needs the package of that name: pip install 'dann-search[cmaes]', or choose tpe",
        )


def make_sampler(search: SearchConfig, done: int) -> BaseSampler:
    """The sampler of ``search.sampler`` for a study that has ``done`` trials.

    ``tpe`` is multivariate within the groups of parameters that exist together, which conditions
    need, and counts running trials as bad ones, so that parallel trials differ. ``gp``, ``cmaes``
    and ``qmc`` model the parameters that every trial has and draw the others at random, each run of
    a search anew.
    """
    # A sampler started again with its old seed would propose its old first trials again.
    seed = search.seed + done
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case "tpe":
                return optuna.samplers.TPESampler(
                    seed=seed,
                    n_startup_trials=startup_trials(search.trials),
                    multivariate=True,
                    group=True,
                    constant_liar=True,
                )
            case "gp":
                return optuna.samplers.GPSampler(
                    seed=seed, n_startup_trials=startup_trials(search.trials)
                )
            case "cmaes":
                return OwnCmaEs(seed=seed, warn_independent_sampling=False)
            case "qmc":
                # The sequence goes on where the study left it, so its seed stays.
                return optuna.samplers.QMCSampler(
                    seed=search.seed,
                    scramble=True,
                    independent_sampler=optuna.samplers.RandomSampler(seed=seed),
                    warn_independent_sampling=False,
                    warn_asynchronous_seeding=False,
                )
            case _:  # a grid's points are handed out by the study itself
                return optuna.samplers.RandomSampler(seed=seed)


def startup_trials(trials: int) -> int:
    """Random trials before a model of the objective is trusted."""
    return max(4, min(10, trials // 3))


class OwnCmaEs(CmaEsSampler):
    """CMA-ES that reads no pickle from a file.

    Optuna keeps the optimizer pickled in the study, where anyone may have put it. A state that this
    process did not write is left alone: a resumed search begins a new generation with the
    solutions that the study has.
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
        """Remember whose state is ours: not one that a trial of an earlier run brings along."""
        if not any(key.startswith(self._attr_key_optimizer) for key in trial.system_attrs):
            self._ours.add(trial._trial_id)
        return super().sample_relative(study, trial, search_space)

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        ours = [trial for trial in completed_trials if trial._trial_id in self._ours]
        return super()._restore_optimizer(ours)
