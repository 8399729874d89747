"""What a study begins with: points to try first, and trials of another experiment to learn from."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import Experiment
from dann_search.config.grid import combinations, grid
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial, start_points
from dann_search.errors import InputError
from dann_search.search.suggest import distribution, study_name
from dann_search.study_names import CONFIG, WARM

GRID_LIMIT = 100_000


@dataclass(frozen=True)
class FirstTrial:
    """Values by the study's names that a trial is to have, and where they are from."""

    origin: str
    params: dict[str, Any]


def first_trials(experiment: Experiment, space: Space) -> list[FirstTrial]:
    """The trials that no sampler chooses, in their order: start points, or a whole grid.

    A grid is shuffled by the search's seed, so that a part of it is spread over the space.
    """
    search = experiment.search
    if search.sampler == "grid":
        points = list(islice(grid(space), GRID_LIMIT))
        random.Random(search.seed).shuffle(points)
        return [FirstTrial("grid", _named(space, point)) for point in points]
    found = start_points(space, search.start_points, search.published_first)
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


def check_grid(experiment: Experiment, space: Space) -> None:
    """Refuse a grid that is beyond listing.

    Raises:
        InputError: it has more than 100,000 points.
    """
    count = combinations(space)
    if experiment.search.sampler == "grid" and (count or 0) > GRID_LIMIT:
        raise InputError(
            f"search.sampler: the grid has {count:,} points, at most {GRID_LIMIT:,} are possible; "
            "use larger steps, or the sampler tpe"
        )


def _named(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    backbone = values.get("backbone", space.fixed.backbone)
    return {study_name(name, space, backbone): value for name, value in values.items()}


def warm_trials(space: Space, known: Sequence[KnownTrial]) -> list[FrozenTrial]:
    """Those of ``known`` that this space could have proposed, as completed trials.

    They come without intermediate values: what stops trials compares those of this search alone.

    Raises:
        InputError: there are some, and none fits.
    """
    found = []
    for one in known:
        recipe = {**space.fixed.model_dump(), **one.config}
        values, backbone = space.active(recipe), str(recipe["backbone"])
        if backbone not in space.backbones:
            continue
        if all(space.contains(name, value, backbone) for name, value in values.items()):
            ranges = {
                study_name(name, space, backbone): distribution(space, name, backbone)
                for name in values
            }
            found.append(
                optuna.trial.create_trial(
                    state=TrialState.COMPLETE,
                    value=one.score,
                    params=_named(space, values),
                    distributions=ranges,
                    user_attrs={WARM: one.origin, CONFIG: one.config},
                )
            )
    if known and not found:
        raise InputError(
            f"search.warm_start: none of its {len(known)} completed trials lies in this space"
        )
    return found
