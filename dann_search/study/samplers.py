"""The samplers that propose configurations: Optuna's, each with what this search asks of it.

Optuna is imported inside the functions: reading an experiment file needs the names alone.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING

from dann_search.config.experiment import SearchConfig
from dann_search.config.extensions import SAMPLERS, SamplerSpec, register_sampler
from dann_search.config.source import SettingError

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def check_sampler(sampler: str) -> None:
    """Check that the sampler's package is installed, before anything is started.

    Raises:
        InputError: it is not.
    """
    spec = SAMPLERS[sampler]
    if spec.module and importlib.util.find_spec(spec.module) is None:
        raise SettingError(
            ("search", "sampler"),
            f"{sampler} needs the package {spec.module}: pip install '{spec.install}', or choose "
            "tpe",
        )


def make_sampler(search: SearchConfig, done: int) -> BaseSampler:
    """Return the sampler of ``search.sampler`` for a study that has ``done`` trials."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # A sampler started again with its old seed would propose its old first trials again.
        sampler: BaseSampler = SAMPLERS.code(search.sampler)(search, search.seed + done)
    return sampler


def startup_trials(trials: int) -> int:
    """Return how many random trials come before a model of the objective is trusted."""
    return max(4, min(10, trials // 3))


@register_sampler(
    SamplerSpec(
        name="tpe",
        words="a tree-structured Parzen estimator, multivariate within the groups of parameters "
        "that exist together; running trials count as bad ones, so that parallel trials differ",
    )
)
def tpe(search: SearchConfig, seed: int) -> BaseSampler:
    """Return a TPE sampler by groups, as conditions leave no trial with all parameters."""
    from optuna.samplers import TPESampler

    startup = startup_trials(search.trials)
    return TPESampler(
        seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True
    )


@register_sampler(
    SamplerSpec(
        name="gp",
        words="a Gaussian process over the parameters every trial has, the others at random",
    )
)
def gp(search: SearchConfig, seed: int) -> BaseSampler:
    """Return Optuna's GPSampler."""
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=startup_trials(search.trials))


@register_sampler(
    SamplerSpec(
        name="cmaes",
        words="CMA-ES over the numbers every trial has, the rest at random (`pip install "
        "'dann-search[cmaes]'`)",
        module="cmaes",
        install="dann-search[cmaes]",
    )
)
def cmaes(search: SearchConfig, seed: int) -> BaseSampler:
    """Return Optuna's CmaEsSampler, made to read no pickle."""
    from dann_search.study.sampler_view import OwnCmaEs

    return OwnCmaEs(seed=seed, warn_independent_sampling=False)


@register_sampler(
    SamplerSpec(
        name="qmc",
        words="a scrambled Sobol sequence over the parameters every trial has, the rest at random",
    )
)
def qmc(search: SearchConfig, seed: int) -> BaseSampler:
    """Return a Sobol sampler. A resumed study continues the sequence, so its seed stays."""
    from optuna.samplers import QMCSampler, RandomSampler

    return QMCSampler(
        seed=search.seed,
        scramble=True,
        independent_sampler=RandomSampler(seed=seed),
        warn_independent_sampling=False,
        warn_asynchronous_seeding=False,
    )


@register_sampler(SamplerSpec(name="random", words="chance"))
def random(search: SearchConfig, seed: int) -> BaseSampler:
    """Return Optuna's RandomSampler."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


@register_sampler(
    SamplerSpec(
        name="grid",
        words="every configuration once, in an order shuffled by the seed; every range needs a "
        "`step`",
    )
)
def grid(search: SearchConfig, seed: int) -> BaseSampler:
    """Return any sampler: the study enqueues the points of a grid itself."""
    return random(search, seed)
