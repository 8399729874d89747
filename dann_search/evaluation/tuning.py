"""A search of its own for each baseline: the experiment's space, less what the baseline lacks.

Otherwise the winner alone is tuned, and its lead is partly that of its tuning. Sampler, pruner,
objective, epochs, start points and images are those of the experiment's own search; no label of the
target's test split is read.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from dann_search.config.experiment import BudgetConfig, ExperimentConfig
from dann_search.config.grid import combinations
from dann_search.config.parameter import Choice, Parameter, is_one_of
from dann_search.config.space import Space, build_space
from dann_search.config.trial import TrialConfig, implied_conditions
from dann_search.data.node_store import StoreSpec, store_of
from dann_search.data.store import StoreInfo, read_info
from dann_search.errors import InputError
from dann_search.evaluation.baselines import (
    LAMBDA_0,
    SUPERVISED,
    TLLIB,
    TUNED,
    effective,
    fixed_by,
)
from dann_search.models.registry import stage_counts
from dann_search.outputs.comparison import OwnSearch
from dann_search.results.choose import choose
from dann_search.results.reader import read_search, read_trials, refresh
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import SettledPrecision, recorded_precisions
from dann_search.study.suggest import suggest

DRAWS = 16
"""Recipes that show which parameters have an effect, and which searches are the same."""


@dataclass(frozen=True)
class BaselineSearch:
    """The search of one baseline, or of several to which the same recipes are open.

    Attributes:
        method: the first of them, as progress calls it.
        experiment: what is searched.
        space: its space.
        folder: where it lies, an experiment of its own.
        store: the packed images it trains on.
        info: what they are, for its record.
        precisions: what ``auto`` stands for, as in the compared experiment.
    """

    method: str
    experiment: ExperimentConfig
    space: Space
    folder: ExperimentFolder
    store: StoreSpec
    info: StoreInfo
    precisions: Mapping[str, SettledPrecision]

    @property
    def trials(self) -> int:
        """How many it is to have; a grid has no more than its points."""
        wanted = self.experiment.search.trials
        if self.experiment.search.sampler == "grid":
            return min(wanted, combinations(self.space) or wanted)
        return wanted

    def missing(self) -> int:
        """Return how many trials are still to end: 0 of a search that is done."""
        if not self.folder.record.exists():
            return self.trials
        rows = [row for row in read_search(self.folder).rows if row.confirms is None]
        ended = sum(row.state != "running" for row in rows)
        return max(self.trials - ended, len(rows) - ended)


@dataclass(frozen=True)
class Tuning:
    """How baselines are tuned.

    Attributes:
        trials: of each search.
        run: runs searches to their ends; those that are done cost nothing.
        tell: called with a line on what it costs, before it begins.
    """

    trials: int
    run: Callable[[Sequence[BaselineSearch]], None]
    tell: Callable[[str], None]


@dataclass(frozen=True)
class TunedBaseline:
    """What a baseline's search has found."""

    config: TrialConfig
    search: OwnSearch


def plan_searches(
    folder: ExperimentFolder,
    experiment: ExperimentConfig,
    winner: str,
    names: Iterable[str],
    trials: int,
    store: Path,
    others: Mapping[str, Path],
) -> dict[str, BaselineSearch]:
    """Return a search for every baseline that has something to tune, by the baseline's name.

    Baselines to which the same recipes are open share one: from_scratch is source_only where
    nothing is pre-trained.

    Args:
        folder: the compared experiment.
        experiment: what it searched.
        winner: method of its best trial, which it has tuned.
        names: methods of the comparison.
        trials: of each search.
        store: the experiment's packed images.
        others: other packed images, by the method that trains on them.

    Raises:
        InputError: there is less than one trial.
    """
    if trials < 1:
        raise InputError(f"--tune needs at least 1 trial, got {trials}")
    info = read_info(store)
    spec, precisions = store_of(folder, experiment.data, info), recorded_precisions(folder)
    found: dict[str, BaselineSearch] = {}
    by_recipes: dict[str, BaselineSearch] = {}
    for name in names:
        if name in (winner, TLLIB):  # tuned by the search; as published
            continue
        own = _experiment_of(name, experiment, winner, trials)
        space = build_space(own, stage_counts())
        if not space.parameters:
            continue
        label = _label(own, space, name)
        if label not in by_recipes:
            place = folder.tuned(label)
            storage = place.url.rsplit("/", 1)[0] if place.url else place.root.parent
            own = own.model_copy(update={"name": label, "storage": storage})
            images = replace(spec, place=str(others.get(name, store)))
            by_recipes[label] = BaselineSearch(name, own, space, place, images, info, precisions)
            refresh(place)
        found[name] = by_recipes[label]
    return found


def cost(searches: Mapping[str, BaselineSearch], recipes: int, seeds: int) -> str:
    """Say how many trainings a comparison takes: of searches by baseline, and of other recipes."""
    distinct = _distinct(searches)
    if not distinct:
        return "tuning: none of the methods has anything to tune"
    trials = sum(one.trials for one in distinct)
    missing = sum(one.missing() for one in distinct)
    left = f", of which {missing} are still to run" if missing < trials else ""
    shared = [
        f"; {name} shares the search of {one.method}"
        for name, one in searches.items()
        if name != one.method
    ]
    return (
        f"tuning {', '.join(one.method for one in distinct)}: {len(distinct)} searches, {trials} "
        f"trials{left}{''.join(shared)}; then at most {(recipes + len(distinct)) * seeds} "
        f"trainings, {seeds} of each recipe"
    )


def _distinct(searches: Mapping[str, BaselineSearch]) -> list[BaselineSearch]:
    return [one for name, one in searches.items() if name == one.method]


def run_searches(
    tuning: Tuning, searches: Mapping[str, BaselineSearch], recipes: int, seeds: int
) -> tuple[dict[str, TunedBaseline], dict[str, str]]:
    """Run searches by baseline; return the best recipe of each, and why others have none.

    ``recipes`` and ``seeds`` count the trainings besides, for the line that says what it costs.
    """
    tuning.tell(cost(searches, recipes, seeds))
    tuning.run(_distinct(searches))
    found, failed = dict[str, TunedBaseline](), dict[str, str]()
    for name, search in searches.items():
        rows = read_trials(search.folder)
        try:
            best = choose(rows, search.folder, 1, None)
        except InputError:
            errors = [row.error for row in rows if row.error] or ["none was trained"]
            failed[name + TUNED] = f"no trial of its search finished: {errors[0]}"
            continue
        own = OwnSearch(
            method=name,
            trials=sum(row.confirms is None for row in rows),
            trial=best.number,
            score=best.score if best.confirmed_mean is None else best.confirmed_mean,
            folder=search.experiment.name,
            searched=list(search.space.parameters),
        )
        found[name] = TunedBaseline(TrialConfig(**best.config), own)
    return found, failed


def _experiment_of(
    name: str, experiment: ExperimentConfig, winner: str, trials: int
) -> ExperimentConfig:
    """Return the experiment that searches a baseline."""
    training = experiment.training | fixed_by(name, winner)
    stated = experiment.model_copy(update={"training": training, "space": {}})
    kept = {key: one for key, one in experiment.space.items() if key not in training}
    if name == LAMBDA_0:  # what belongs to a term that counts for nothing
        idle = {
            key
            for key, conditions in implied_conditions().items()
            if "method" in conditions and not is_one_of("source_only", conditions["method"])
        }
        kept = {key: one for key, one in kept.items() if key not in idle}
    kept = _applicable(kept, stated.fixed)
    space = build_space(stated.model_copy(update={"space": kept}), stage_counts())
    kept = _applicable(
        {key: kept[key] for key in kept if _matters(key, space, stated)}, stated.fixed
    )
    search = experiment.search
    points = ({key: point[key] for key in point if key in kept} for point in search.start_points)
    changes: dict[str, Any] = {
        "trials": trials,
        "budget": BudgetConfig(),  # its trials are its budget
        "warm_start": None,  # of another method's trials
        "start_points": [point for point in points if point],
        "study": "auto" if "://" in search.study else search.study,
    }
    return stated.model_copy(update={"space": kept, "search": search.model_copy(update=changes)})


def _applicable(space: Mapping[str, Parameter], fixed: TrialConfig) -> dict[str, Parameter]:
    """Return the parameters that some recipe has, without conditions that every recipe fulfils."""
    kept = dict(space)
    while True:
        failing = [
            name
            for name, parameter in kept.items()
            for other, wanted in (implied_conditions().get(name, {}) | parameter.when).items()
            if other not in kept and not is_one_of(getattr(fixed, other), wanted)
        ]
        if not failing:
            break
        kept = {name: one for name, one in kept.items() if name not in failing}
    return {
        name: one.model_copy(
            update={"when": {other: one.when[other] for other in one.when if other in kept}}
        )
        for name, one in kept.items()
    }


def _matters(name: str, space: Space, experiment: ExperimentConfig) -> bool:
    """Whether two values of a parameter make two trainings in any of the recipes that have it."""
    drawn = _drawn(space, experiment.search.seed)
    having = [config for config in drawn if space.applies(name, config.model_dump())]
    for config in having:
        parameter = space.parameters[name]
        values = (
            parameter.choice
            if isinstance(parameter, Choice)
            else space.bounds(name, config.backbone)
        )
        changed = (config.model_copy(update={name: value}) for value in values)
        if len({effective(one, experiment.weights).model_dump_json() for one in changed}) > 1:
            return True
    return not having


def _label(experiment: ExperimentConfig, space: Space, name: str) -> str:
    """Name a search after all that makes it another one, but for its number of trials."""
    search = experiment.search.model_dump(mode="json", exclude={"trials", "study"})
    drawn = _drawn(space, experiment.search.seed)
    recipes = [effective(config, experiment.weights) for config in drawn]
    spaces = {key: one.model_dump(mode="json") for key, one in experiment.space.items()}
    trained_as = SUPERVISED if name == SUPERVISED else recipes[0].method
    content = [search, [one.model_dump(mode="json") for one in recipes], spaces, trained_as]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return f"{trained_as}-{digest}"


def _drawn(space: Space, seed: int) -> list[TrialConfig]:
    """Return recipes of the space, the same ones whenever the space is the same."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(study.ask(), space) for _ in range(DRAWS)]
