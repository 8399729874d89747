"""The Optuna study on storage: the only record of a search, from which any crash is resumed."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import Experiment
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.finalists import Confirmation, wanted
from dann_search.study.first_trials import untried
from dann_search.study.open_study import open_study
from dann_search.study.pruning import make_pruner, with_best_so_far
from dann_search.study.sampler_view import ViewingSampler
from dann_search.study.samplers import make_sampler
from dann_search.study.study_names import (
    BEST,
    CONFIG,
    CONFIRMS,
    ERROR,
    ORIGIN,
    SEED,
    STOPPED,
    TOTAL,
    is_own,
)
from dann_search.study.study_storage import close
from dann_search.study.suggest import distributions, suggest


@dataclass(frozen=True)
class Assignment:
    """A trial to be trained: its number in the study and its recipe."""

    number: int
    config: TrialConfig


@dataclass(frozen=True)
class Counts:
    """Trials of the study by state."""

    completed: int
    pruned: int
    failed: int
    running: int

    @property
    def finished(self) -> int:
        """Trials that will not go on."""
        return self.completed + self.pruned + self.failed


class StudyRecord:
    """The study and its trials by number. One driver writes to it.

    A new study begins with the trials of another experiment in ``known`` that fit its space; the
    ranges of an old one may have grown if ``allow_wider``.
    """

    def __init__(
        self,
        experiment: Experiment,
        space: Space,
        folder: ExperimentFolder,
        known: Sequence[KnownTrial] = (),
        allow_wider: bool = False,
    ):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.experiment = space, experiment
        self.study = open_study(experiment, space, folder, known, allow_wider)
        self.study.pruner = make_pruner(experiment.search.scheduler, space.fixed.epochs)
        self.storage = self.study._storage
        trials = [t for t in self.study.get_trials(deepcopy=False) if is_own(t)]
        sampler = make_sampler(experiment.search, len(trials))
        self.study.sampler = ViewingSampler(sampler, distributions(space))
        self._ids = {trial.number: trial._trial_id for trial in trials}
        self._searched = sum(CONFIRMS not in trial.user_attrs for trial in trials)
        running = [t for t in trials if t.state == TrialState.RUNNING]
        self._unfinished = deque(t.number for t in running if STOPPED not in t.user_attrs)
        for trial in running:
            if STOPPED in trial.user_attrs:  # decided, but then came a crash
                self.prune(trial.number)
        self._waiting = len(self._in_state(TrialState.WAITING))
        """Trials of a run that was cut off between putting them in and taking them."""
        self._first = deque(untried(experiment, space, self.study.get_trials(deepcopy=False)))
        self._ends_early = False
        self._total = int(self.study.user_attrs.get(TOTAL, experiment.search.trials))
        self.keep_total()

    @property
    def total(self) -> int:
        """Trials the search is to reach; a grid has no more than its points."""
        left = self._waiting + len(self._first)
        return min(self._total, self._searched + left) if self._is_grid else self._total

    @property
    def _is_grid(self) -> bool:
        return self.experiment.search.sampler == "grid"

    def add_trials(self, count: int) -> None:
        """Raise the total, in the study once ``keep_total`` is called.

        Raises:
            InputError: of a grid whose points are all in the study.
        """
        if self._is_grid and not self._first:
            raise InputError(
                f"--add-trials {count}: the grid is exhausted, each of its {self._searched} points "
                "is in the study; widen a range (--set space.… --allow-wider-space), or choose "
                "another sampler (--set search.sampler=tpe)"
            )
        self._total += count

    def keep_total(self) -> None:
        """Write the total into the study.

        Not before the search can go on: who repeats a resume that did not start would add twice.
        """
        if self.study.user_attrs.get(TOTAL) != self._total:
            self.study.set_user_attr(TOTAL, self._total)

    def end_early(self) -> None:
        """Propose nothing new: what runs may end, then the finalists are confirmed."""
        self._ends_early = True

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run."""
        return not self._unfinished and self.is_exhausted

    @property
    def is_exhausted(self) -> bool:
        """Whether no trial will be proposed any more, of the search or to confirm its finalists."""
        if self._is_searching:
            return False
        if self.experiment.search.confirm is None:
            return True
        return not self._is_running and not self._confirmations()

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
        return max(len(self._in_state(TrialState.RUNNING)) + proposed, confirming)

    def next_trial(self) -> Assignment | None:
        """An unfinished trial of an earlier run, else a new one, else one that confirms a finalist.

        None when the total is reached, or when trials that still run decide who the finalists are.
        """
        if self._unfinished:
            return self._assign(optuna.Trial(self.study, self._ids[self._unfinished.popleft()]))
        if self._waiting:
            self._waiting -= 1
        elif self._is_searching:
            if self._first:
                first = self._first.popleft()
                self.study.enqueue_trial(first.params, user_attrs={ORIGIN: first.origin})
        elif self.experiment.search.confirm is None or self._is_running:
            return None
        elif missing := self._confirmations():
            one = missing[0]
            again = {CONFIRMS: one.finalist, SEED: one.seed}
            self.study.enqueue_trial(one.params, user_attrs=again)
        else:
            return None
        trial = self.study.ask()
        self._ids[trial.number] = trial._trial_id
        self._searched += CONFIRMS not in trial.user_attrs
        return self._assign(trial)

    def _in_state(self, state: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(state,))

    @property
    def _is_running(self) -> bool:
        """Whether a trial that may become a finalist still runs."""
        running = self._in_state(TrialState.RUNNING)
        return any(CONFIRMS not in trial.user_attrs for trial in running)

    def _confirmations(self) -> list[Confirmation]:
        confirm = self.experiment.search.confirm
        assert confirm is not None
        trials = self.study.get_trials(deepcopy=False)
        return wanted(confirm, filter(is_own, trials), self.space.fixed.seed)

    def _assign(self, trial: optuna.Trial) -> Assignment:
        # A trial cut off between asking and the last suggestion gets what is missing here.
        if CONFIRMS in trial.user_attrs and not trial.constraints:
            trial.set_constraint(CONFIRMS, 1.0)  # never the study's best: its finalist may be
        config = suggest(trial, self.space)
        if SEED in trial.user_attrs:
            config = config.model_copy(update={"seed": trial.user_attrs[SEED]})
        if CONFIG not in trial.user_attrs:
            trial.set_user_attr(CONFIG, config.model_dump(mode="json"))
        return Assignment(trial.number, config)

    def frozen(self, number: int) -> FrozenTrial:
        """The trial as stored."""
        return self.storage.get_trial(self._ids[number])

    def report(self, number: int, scores: Sequence[float]) -> int:
        """Store the scores of epochs 1, 2, … not known yet; return how many were known.

        A crash can cut off a report whose checkpoint was written: the next one fills the gap, and
        none is stored twice.
        """
        # Straight to the storage: making an optuna.Trial samples all its parameters anew.
        known = self.frozen(number).intermediate_values
        for epoch, score in enumerate(scores, 1):
            if epoch not in known:
                self.storage.set_trial_intermediate_value(self._ids[number], epoch, score)
        return len(known)

    def note_best(self, number: int, epoch: Mapping[str, Any]) -> None:
        """Keep what the trial's best epoch has beside the objective's value."""
        shown = ("epoch", "f1_macro_val", "validators")
        self.note(number, BEST, {name: epoch[name] for name in shown})

    def should_stop(self, number: int) -> bool:
        """Whether the pruner ends the trial after its last reported epoch.

        It says so once: the decision is kept, for a crash before the trial is pruned.
        """
        trial = self.frozen(number)
        if CONFIRMS in trial.user_attrs:
            return False
        stops = self.study.pruner.prune(self.study, with_best_so_far(trial))
        if stops:
            self.note(number, STOPPED, trial.last_step)
        return stops

    def complete(self, number: int) -> None:
        """All epochs are done: the trial's value is that of its best epoch."""
        self._tell(
            number, TrialState.COMPLETE, max(self.frozen(number).intermediate_values.values())
        )

    def prune(self, number: int) -> None:
        """Stopped early; the intermediate values stay."""
        self._tell(number, TrialState.PRUNED)

    def fail(self, number: int, error: str) -> None:
        """Ended with an error of its own."""
        if not self.frozen(number).state.is_finished():
            self.storage.set_trial_user_attr(self._ids[number], ERROR, error)
        self._tell(number, TrialState.FAIL)

    def _tell(self, number: int, state: TrialState, value: float | None = None) -> None:
        if not self.frozen(number).state.is_finished():
            # The study's own tell would replace a pruned trial's value by its last one, of an
            # epoch that is not its best.
            self.storage.set_trial_state_values(
                self._ids[number], state, None if value is None else [value]
            )

    def note(self, number: int, name: str, value: Any) -> None:
        """Keep a fact about a trial beside its values."""
        self.storage.set_trial_user_attr(self._ids[number], name, value)

    def counts(self) -> Counts:
        """Trials of the search by state; those that confirm a finalist are not among them."""
        states = [trial.state for trial in self._of_search()]
        return Counts(
            completed=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
        )

    def _of_search(self) -> list[FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return [t for t in trials if is_own(t) and CONFIRMS not in t.user_attrs]

    def ended(self) -> list[float]:
        """Values of the trials of the search that are over, in the order of their end.

        Minus infinity where one was not completed: it is nothing that others must be better than.
        """
        over = [t for t in self._of_search() if t.state.is_finished()]
        over.sort(key=lambda t: (str(t.datetime_complete), t.number))
        return [_value(trial) for trial in over]

    def value(self, number: int) -> float | None:
        """As in ``ended``; None for a trial that confirms a finalist."""
        trial = self.frozen(number)
        return None if CONFIRMS in trial.user_attrs else _value(trial)

    def best(self) -> tuple[int, float] | None:
        """Number and score of the best trial: completed where there is any, earliest on ties."""
        trials = self._of_search()
        for state in (TrialState.COMPLETE, TrialState.PRUNED):
            found = [
                (max(t.intermediate_values.values()), -t.number)
                for t in trials
                if t.state == state and t.intermediate_values
            ]
            if found:
                score, number = max(found)
                return -number, score
        return None

    def close(self) -> None:
        """Let go of the database."""
        close(self.storage)


def _value(trial: FrozenTrial) -> float:
    value = trial.value if trial.state == TrialState.COMPLETE else None
    return -math.inf if value is None else value
