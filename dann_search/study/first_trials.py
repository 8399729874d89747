"""What a study begins with: points to try first, and trials of another experiment."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.grid import combinations, grid
from dann_search.config.messages import shown
from dann_search.config.parameter import is_one_of
from dann_search.config.source import SettingError
from dann_search.config.space import Space
from dann_search.config.start_points import PUBLISHED, KnownTrial, StartPoint, start_points
from dann_search.config.trial import AUTO, TrialConfig, implied_conditions
from dann_search.study.study_names import CONFIG, ORIGIN, WARM
from dann_search.study.suggest import distributions, study_name

GRID_LIMIT = 100_000

Key = frozenset[tuple[str, Any]]
"""A trial's values, to be compared."""


@dataclass(frozen=True)
class FirstTrial:
    """Values of a trial by their names in the study, and their origin."""

    origin: str
    params: dict[str, Any]


def first_trials(experiment: ExperimentConfig, space: Space) -> list[FirstTrial]:
    """Return the trials that no sampler chooses, in order: start points, or a whole grid."""
    search = experiment.search
    found = start_points(space, search.start_points, search.published_first)
    if search.sampler == "grid":
        points = list(islice(grid(space), GRID_LIMIT))
        # Shuffled, so that a part of the grid covers the whole space.
        random.Random(search.seed).shuffle(points)
        return [
            FirstTrial(origin, named(space, values))
            for origin, values in _start_points_first(space, points, found)
        ]
    return [
        FirstTrial(
            point.origin,
            {
                study_name(name, space, backbone): value
                for backbone, values in point.values.items()
                for name, value in values.items()
            },
        )
        for point in found
    ]


def _start_points_first(
    space: Space, grid_points: list[dict[str, Any]], starts: Sequence[StartPoint]
) -> list[tuple[str, dict[str, Any]]]:
    """Put the points of a grid that match start points first; return all with their origin."""
    left, first = list(grid_points), list[tuple[str, dict[str, Any]]]()
    for start in starts:
        for index, values in enumerate(left):
            wanted = start.values.get(values.get("backbone", space.fixed.backbone))
            if wanted is not None and all(
                is_one_of(value, wanted.get(name, value)) for name, value in values.items()
            ):
                first.append((start.origin, left.pop(index)))
                break
    return [*first, *(("grid", values) for values in left)]


def untried(
    experiment: ExperimentConfig, space: Space, trials: Sequence[FrozenTrial]
) -> list[FirstTrial]:
    """Return the first trials that the study lacks, whatever changed since it began.

    A first trial is in the study if it was enqueued with the same values; a point of a grid also
    if chance found it.
    """
    own = [trial for trial in trials if WARM not in trial.user_attrs]
    there = [
        (trial.user_attrs.get(ORIGIN), key_of(trial.system_attrs.get("fixed_params", {})))
        for trial in own
    ]
    keys = {key for _, key in there}
    if experiment.search.sampler == "grid":
        keys |= {key_of(trial.params) for trial in own}

    def is_there(one: FirstTrial) -> bool:
        # Version 0.1.0 enqueued published recipes with fewer values.
        key, published = key_of(one.params), one.origin in PUBLISHED
        return key in keys or any(
            published and one.origin == origin and values <= key for origin, values in there
        )

    return [one for one in first_trials(experiment, space) if not is_there(one)]


def key_of(params: Mapping[str, Any]) -> Key:
    """Return values to be compared with those of other trials."""
    # Without the last digits of a float: Optuna's 0.30000000000000004 is the grid's 0.3.
    return frozenset(
        (name, float(f"{value:.12g}") if isinstance(value, float) else value)
        for name, value in params.items()
    )


def check_grid(experiment: ExperimentConfig, space: Space) -> None:
    """Refuse a grid that is too large to list.

    Raises:
        InputError: it has more than 100,000 points.
    """
    count = combinations(space)
    if experiment.search.sampler == "grid" and (count or 0) > GRID_LIMIT:
        raise SettingError(
            ("search", "sampler"),
            f"the grid has {count:,} points, at most {GRID_LIMIT:,} are possible; "
            "use larger steps, or the sampler tpe",
        )


def named(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's searched values by their names in the study."""
    backbone = values.get("backbone", space.fixed.backbone)
    return {study_name(name, space, backbone): value for name, value in values.items()}


def warm_trials(space: Space, known: Sequence[KnownTrial]) -> list[FrozenTrial]:
    """Return those of ``known`` that this space could have proposed, as completed trials.

    They have no intermediate values, as pruners compare trials of this search only. A constraint
    keeps them from becoming the best trial of the study.

    Raises:
        InputError: none of them fits.
    """
    ranges, found, misfits = distributions(space), [], Counter[str]()
    for one in known:
        recipe = {**space.fixed.model_dump(), **one.config}
        if why := _misfit(space, recipe):
            misfits[why] += 1
            continue
        values = named(space, space.active(recipe))
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            value=one.score,
            params=values,
            distributions={name: ranges[name] for name in values},
            user_attrs={WARM: one.origin, CONFIG: one.config},
            constraints={WARM: 1.0},
        )
        found.append(trial)
    if misfits and not found:
        ((why, _),) = misfits.most_common(1)
        raise SettingError(
            ("search", "warm_start"),
            f"none of its {len(known)} completed trials lies in this space: {why}",
        )
    return found


def _misfit(space: Space, recipe: Mapping[str, Any]) -> str:
    """Say why no trial of this space could have the recipe; empty where one could.

    The seed, and parameters without an effect on the recipe, do not matter.
    """
    backbone = str(recipe["backbone"])
    if backbone not in space.backbones:
        return f"no trial here has the backbone {backbone}"
    active, stages = space.active(recipe), space.stages[backbone]
    conditions = implied_conditions()
    for name in TrialConfig.model_fields:
        there, here = recipe[name], getattr(space.fixed, name)
        if name == "precision" and here == AUTO:  # any will do
            continue
        if name in active:
            if not space.contains(name, there, backbone):
                return f"{name} is {shown(there)} there, outside of what is searched here"
            continue
        if name == "unfrozen_depth":  # None trains all stages
            there, here = (min(stages if d is None else d, stages) for d in (there, here))
        if there != here and name != "seed":
            needs = conditions.get(name, {})
            if all(is_one_of(recipe[other], wanted) for other, wanted in needs.items()):
                return f"{name} is {shown(there)} there, {shown(here)} here"
    return ""
