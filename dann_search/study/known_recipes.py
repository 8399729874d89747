"""Recipes that were trained: the sampler is told their result, and they are not trained again."""

import random
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.grid import combinations, grid
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.study.first_trials import Key, key_of, named
from dann_search.study.optuna_private import storage_of
from dann_search.study.study_names import CONFIG, CONFIRMS, REPEATS, best_score, is_own

MOST = 10_000
"""Configurations of a space that are listed: with more, few searches try all of them."""


class KnownRecipes:
    """Knows which trial trained which recipe, and which recipes of a finite space are left.

    What is left is proposed in an order that ``seed`` decides.
    """

    def __init__(self, study: optuna.Study, space: Space, seed: int):
        self.study, self.space = study, space
        count = combinations(space)
        self.is_finite = count is not None and count <= MOST
        points = list(grid(space)) if self.is_finite else []
        random.Random(seed).shuffle(points)
        self._left = {key_of(values): values for values in points}
        self._trained: dict[Key, int] = {}
        for trial in study.get_trials(deepcopy=False):
            if is_own(trial) and CONFIRMS not in trial.user_attrs and CONFIG in trial.user_attrs:
                self._note(trial.number, trial.user_attrs[CONFIG])

    @property
    def left(self) -> int:
        """Number of recipes of a finite space that no trial has trained."""
        return len(self._left)

    def untried(self) -> dict[str, Any] | None:
        """Return one of them, by its names in the study."""
        values = next(iter(self._left.values()), None)
        return None if values is None else named(self.space, values)

    def is_new(self, trial: optuna.Trial, config: TrialConfig) -> bool:
        """Return whether a proposed recipe is new; else end the trial with the result known.

        It is no trial of the search then, and never the study's best. While the earlier one trains,
        nothing is known yet.
        """
        recipe = config.model_dump(mode="json")
        earlier = self._trained.get(self._key(recipe))
        if earlier is None:
            self._note(trial.number, recipe)
            return True
        trial.set_user_attr(REPEATS, earlier)
        trial.set_constraint(REPEATS, 1.0)
        found = self._result(self.study.get_trials(deepcopy=False)[earlier])
        state = TrialState.FAIL if found is None else TrialState.COMPLETE
        values = None if found is None else [found]
        storage_of(self.study).set_trial_state_values(trial.number, state, values)
        return False

    def _result(self, trial: FrozenTrial) -> float | None:
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
            return None
        return best_score(trial) if trial.intermediate_values else None

    def _note(self, number: int, recipe: Mapping[str, Any]) -> None:
        key = self._key(recipe)
        self._trained.setdefault(key, number)
        self._left.pop(key, None)

    def _key(self, recipe: Mapping[str, Any]) -> Key:
        return key_of(self.space.active(dict(recipe)))
