"""Which trial a search trains next: one cut off, a start point, the sampler's, a finalist."""

from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.space import Space
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.storage.outages import is_of_old_outage
from dann_search.study.first_trials import untried
from dann_search.study.known_recipes import KnownRecipes
from dann_search.study.study_names import (
    CONFIG,
    CONFIRMS,
    ERROR,
    ORIGIN,
    RETRIES,
    SEED,
    STOPPED,
    TOTAL,
    best_first,
    best_score,
    own,
)
from dann_search.study.suggest import suggest

TRIES = 10
"""Proposals of the sampler that may repeat recipes, before one that is left is taken instead."""


@dataclass(frozen=True)
class Assignment:
    """A trial to be trained.

    Attributes:
        number: in the study.
        config: its recipe.
        retries: number of the failed trial that it takes up again.
    """

    number: int
    config: TrialConfig
    retries: int | None = None


class Proposals:
    """Takes trials from the study, or puts new ones in, until the search has its total.

    Trials that failed by their own fault are taken up again only with ``retry_failed``.
    """

    def __init__(
        self,
        study: optuna.Study,
        experiment: ExperimentConfig,
        space: Space,
        retry_failed: bool = False,
    ):
        self.study, self.experiment, self.space = study, experiment, space
        self._retry_failed = retry_failed
        self._assigned: set[int] = set()
        """Numbers of the trials that were returned."""
        self._read()
        self._ends_early = self._in_doubt = False
        self._total = int(study.user_attrs.get(TOTAL, experiment.search.trials))
        self.keep_total()

    def _read(self) -> None:
        """Find in the study what is left to be done."""
        everything = self.study.get_trials(deepcopy=False)
        trials = own(everything)
        self._searched = sum(CONFIRMS not in trial.user_attrs for trial in trials)
        self._unfinished = deque(
            trial.number
            for trial in trials
            if trial.state == TrialState.RUNNING
            and STOPPED not in trial.user_attrs
            and trial.number not in self._assigned
        )
        self._waiting = len(self._in_state(TrialState.WAITING))
        """Trials of a run that was cut off between putting them in and taking them."""
        again = {trial.user_attrs.get(RETRIES) for trial in everything}
        self._failed = deque(
            trial
            for trial in trials
            if trial.state == TrialState.FAIL
            and trial.number not in again | self._assigned
            and (self._retry_failed or is_of_old_outage(trial.user_attrs.get(ERROR, "")))
        )
        """Trials to be taken up again."""
        self._first = deque(untried(self.experiment, self.space, everything))
        self._known = KnownRecipes(self.study, self.space, self.experiment.search.seed)

    @property
    def total(self) -> int:
        """Trials the search is to reach; a finite space has no more than its configurations."""
        left = self._waiting + len(self._first)
        if self._is_grid:
            return min(self._total, self._searched + left)
        if self._known.is_finite:
            return min(self._total, self._searched + self._waiting + self._known.left)
        return self._total

    @property
    def _is_grid(self) -> bool:
        return self.experiment.search.sampler == "grid"

    def add_trials(self, count: int) -> None:
        """Raise the total; it is written into the study by ``keep_total``.

        Raises:
            InputError: all points of the grid, or of a finite space, are in the study.
        """
        if self._known.is_finite and not self._is_grid and not self._known.left:
            raise InputError(
                f"--add-trials {count}: each of the configurations of this space is in the study, "
                f"in {self._searched} trials; widen a range (--set space.… --allow-wider-space)"
            )
        if self._is_grid and not self._first:
            raise InputError(
                f"--add-trials {count}: the grid is exhausted, each of its {self._searched} points "
                "is in the study; widen a range (--set space.… --allow-wider-space), or choose "
                "another sampler (--set search.sampler=tpe)"
            )
        self._total += count

    def keep_total(self) -> None:
        """Write the total into the study, once the search can certainly continue.

        Otherwise a resume that failed to start and is repeated would add its trials twice.
        """
        if self.study.user_attrs.get(TOTAL) != self._total:
            self.study.set_user_attr(TOTAL, self._total)

    def end_early(self) -> None:
        """Propose nothing new: running trials may end, then the finalists are confirmed."""
        self._ends_early = True
        self._failed.clear()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run."""
        return not self._unfinished and self.is_exhausted

    @property
    def is_exhausted(self) -> bool:
        """Whether no trial will be proposed any more, of the search or to confirm its finalists."""
        if self._is_searching or self._failed:
            return False
        if self.experiment.search.confirm is None:
            return True
        return not self._is_running and not self._repetitions()

    @property
    def _is_searching(self) -> bool:
        """Whether trials are still to be proposed, not finalists to be confirmed."""
        return not self._ends_early and self._searched < self.total

    @property
    def still_to_run(self) -> int:
        """Trials that run or are to run, those that may confirm finalists among them."""
        confirm = self.experiment.search.confirm
        confirming = 0 if confirm is None else confirm.top * confirm.seeds
        proposed = self.total - self._searched if self._is_searching else 0
        proposed += len(self._failed)
        return max(len(self._in_state(TrialState.RUNNING)) + proposed, confirming)

    def next_trial(self, together: AbstractContextManager[None]) -> Assignment | None:
        """Return an unfinished trial of an earlier run, else a new one, else a finalist's.

        None when the total is reached, or when trials that still run decide who the finalists are.
        Where the study's storage fails, it may be called again: what was begun is continued.
        All that is written of a trial is written ``together``.
        """
        if self._in_doubt:
            self._read()
        self._in_doubt = True
        with together:
            assignment = self._next_trial()
        if assignment is not None:
            self._assigned.add(assignment.number)
        self._in_doubt = False
        return assignment

    def _next_trial(self) -> Assignment | None:
        if self._unfinished:
            # In memory a trial's id is its number.
            return self._assign(optuna.Trial(self.study, self._unfinished.popleft()))
        if self._waiting:
            self._waiting -= 1
        elif self._failed:
            failed = self._failed.popleft()
            names = ORIGIN, CONFIRMS, SEED
            kept = {name: failed.user_attrs[name] for name in names if name in failed.user_attrs}
            again = {RETRIES: failed.number, **kept}
            self.study.enqueue_trial(failed.params, user_attrs=again)
        elif self._is_searching:
            return self._propose()
        elif self.experiment.search.confirm is None or self._is_running:
            return None
        elif missing := self._repetitions():
            finalist, seed = missing[0]
            again = {CONFIRMS: finalist.number, SEED: seed}
            self.study.enqueue_trial(finalist.params, user_attrs=again)
        else:
            return None
        trial = self.study.ask()
        self._searched += CONFIRMS not in trial.user_attrs and RETRIES not in trial.user_attrs
        return self._assign(trial)

    def _propose(self) -> Assignment:
        """Return a trial of a recipe that was not trained yet, unless all proposals repeat others.

        The sampler is told the result of those that do: it would propose them again.
        """
        for attempt in range(2 * TRIES):
            if self._first:
                first = self._first.popleft()
                self.study.enqueue_trial(first.params, user_attrs={ORIGIN: first.origin})
            elif attempt >= TRIES and (values := self._known.untried()):
                self.study.enqueue_trial(values)
            trial = self.study.ask()
            if self._known.is_new(trial, suggest(trial, self.space)):
                break
        else:
            trial = self.study.ask()
        self._searched += 1
        return self._assign(trial)

    def _in_state(self, state: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(state,))

    @property
    def _is_running(self) -> bool:
        """Whether a trial that may become a finalist still runs."""
        running = self._in_state(TrialState.RUNNING)
        return any(CONFIRMS not in trial.user_attrs for trial in running)

    def _repetitions(self) -> list[tuple[FrozenTrial, int]]:
        """List what confirms finalists and is not in the study: each with each of its new seeds.

        Otherwise the winner may be the luckiest seed.
        """
        confirm = self.experiment.search.confirm
        assert confirm is not None
        trials = own(self.study.get_trials(deepcopy=False))
        again = [trial.user_attrs for trial in trials if CONFIRMS in trial.user_attrs]
        there = {(one[CONFIRMS], one[SEED]) for one in again}
        completed = {t.number: t for t in best_first(trials) if t.state == TrialState.COMPLETE}
        finalists = confirm.finalists(
            {number: best_score(t) for number, t in completed.items()},
            {number: t.user_attrs.get(CONFIG, number) for number, t in completed.items()},
        )
        seeds = confirm.new_seeds(self.space.fixed.seed)
        return [(completed[n], seed) for n in finalists for seed in seeds if (n, seed) not in there]

    def _assign(self, trial: optuna.Trial) -> Assignment:
        # A trial cut off between asking and the last suggestion gets what is missing here.
        if CONFIRMS in trial.user_attrs and not trial.constraints:
            trial.set_constraint(CONFIRMS, 1.0)  # never the study's best: its finalist may be
        config = suggest(trial, self.space)
        if SEED in trial.user_attrs:
            config = config.model_copy(update={"seed": trial.user_attrs[SEED]})
        if CONFIG not in trial.user_attrs:
            trial.set_user_attr(CONFIG, config.model_dump(mode="json"))
        return Assignment(trial.number, config, trial.user_attrs.get(RETRIES))
