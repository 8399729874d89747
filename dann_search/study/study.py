"""The Optuna study on storage: the only record of a search, from which any crash is resumed."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.space import Space
from dann_search.config.start_points import KnownTrial
from dann_search.outputs.shared import TrialCounts
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.open_study import open_study
from dann_search.study.optuna_private import storage_of
from dann_search.study.proposals import Assignment, Proposals
from dann_search.study.pruning import make_pruner, with_best_so_far
from dann_search.study.record import with_recorded_precisions
from dann_search.study.remembered import RememberedStorage
from dann_search.study.sampler_view import ViewingSampler
from dann_search.study.samplers import make_sampler
from dann_search.study.study_names import (
    BEST,
    CONFIRMS,
    ERROR,
    STOPPED,
    best_first,
    best_score,
    own,
)
from dann_search.study.study_storage import close
from dann_search.study.suggest import distributions


class StudyRecord:
    """The study and its trials by number. One driver writes to it.

    A new study begins with the trials of another experiment in ``known`` that fit its space; the
    ranges of an old one may have grown if ``allow_wider``. Trials that failed because of storage
    are taken up again, all that failed if ``retry_failed``.
    """

    def __init__(
        self,
        experiment: ExperimentConfig,
        space: Space,
        folder: ExperimentFolder,
        known: Sequence[KnownTrial] = (),
        allow_wider: bool = False,
        retry_failed: bool = False,
    ):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        space = with_recorded_precisions(space, folder)
        self.space, self.experiment, self.folder = space, experiment, folder
        self.study = open_study(experiment, space, folder, known, allow_wider)
        self.study.pruner = make_pruner(experiment.search.scheduler, space.fixed.epochs)
        storage = storage_of(self.study)
        assert isinstance(storage, RememberedStorage)
        self.storage = storage
        trials = own(self.study.get_trials(deepcopy=False))
        sampler = make_sampler(experiment.search, len(trials))
        self.study.sampler = ViewingSampler(sampler, distributions(space))
        for trial in trials:
            if trial.state == TrialState.RUNNING and STOPPED in trial.user_attrs:
                self.prune(trial.number)  # decided, but then came a crash
        self.proposals = Proposals(self.study, experiment, space, retry_failed)
        self.tally = Tally(self.study)
        self._taken: Assignment | None = None
        """A trial that could not be handed out, as storage failed."""

    def next_trial(self) -> Assignment | None:
        """Take the next trial to be trained; see ``Proposals.next_trial``."""
        assignment = self._taken = self._taken or self.proposals.next_trial(self.together())
        if assignment is not None and assignment.retries is not None:
            self.folder.move_trial(assignment.retries, assignment.number)
        self._taken = None
        return assignment

    def together(self) -> AbstractContextManager[None]:
        """Write what the block writes in one transaction; where that fails, nothing of it."""
        return self.storage.together()

    def frozen(self, number: int) -> FrozenTrial:
        """Return the trial as stored."""
        trial: FrozenTrial = self.storage.get_trial(number)
        return trial

    def report(self, number: int, scores: Sequence[float]) -> int:
        """Store the scores of epochs 1, 2, … not known yet; return how many were known.

        A crash can cut off a report whose checkpoint was written: the next one fills the gap, and
        none is stored twice.
        """
        # Straight to the storage: making an optuna.Trial samples all its parameters anew.
        known = self.frozen(number).intermediate_values
        for epoch, score in enumerate(scores, 1):
            if epoch not in known:
                self.storage.set_trial_intermediate_value(number, epoch, score)
        return len(known)

    def note_best(self, number: int, epoch: Mapping[str, Any]) -> None:
        """Keep what the trial's best epoch has beside the objective's value."""
        shown = ("epoch", "f1_macro_val", "validators")
        self.note(number, BEST, {name: epoch[name] for name in shown})

    def note(self, number: int, name: str, value: Any) -> None:
        """Keep a fact about a trial beside its values."""
        self.storage.set_trial_user_attr(number, name, value)

    def should_stop(self, number: int) -> bool:
        """Return whether the pruner ends the trial after its last reported epoch.

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
        """End a trial all of whose epochs are done: its value is that of its best epoch."""
        self._tell(
            number, TrialState.COMPLETE, max(self.frozen(number).intermediate_values.values())
        )

    def prune(self, number: int) -> None:
        """End a trial that was stopped early; the intermediate values stay."""
        self._tell(number, TrialState.PRUNED)

    def fail(self, number: int, error: str) -> None:
        """End a trial that failed with an error of its own."""
        with self.together():
            if not self.frozen(number).state.is_finished():
                self.note(number, ERROR, error)
            self._tell(number, TrialState.FAIL)

    def _tell(self, number: int, state: TrialState, value: float | None = None) -> None:
        if not self.frozen(number).state.is_finished():
            # The study's own tell would replace a pruned trial's value by its last one, of an
            # epoch that is not its best.
            self.storage.set_trial_state_values(number, state, None if value is None else [value])

    def value(self, number: int) -> float | None:
        """Return a trial's value as in ``Tally.ended``; None for one that confirms a finalist."""
        trial = self.frozen(number)
        return None if CONFIRMS in trial.user_attrs else value_of(trial)

    def close(self) -> None:
        """Let go of the database."""
        close(self.storage.behind)


class Tally:
    """Reads the trials of a search; those that confirm a finalist are not among them."""

    def __init__(self, study: optuna.Study):
        self.study = study

    def _trials(self) -> list[FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        return [t for t in own(trials) if CONFIRMS not in t.user_attrs]

    def counts(self) -> TrialCounts:
        """Count the trials that are over."""
        states = [trial.state for trial in self._trials()]
        return TrialCounts(
            completed=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
        )

    def ended(self) -> list[float]:
        """Return the values of trials that are over, in the order of their end.

        Minus infinity where one was not completed: it is nothing that others must be better than.
        """
        over = [t for t in self._trials() if t.state.is_finished()]
        over.sort(key=lambda t: (str(t.datetime_complete), t.number))
        return [value_of(trial) for trial in over]

    def best(self) -> tuple[int, float] | None:
        """Return number and score of the best trial: completed if any is, earliest on ties."""
        first = next(iter(best_first(self._trials())), None)
        return first and (first.number, best_score(first))


def value_of(trial: FrozenTrial) -> float:
    """Return a trial's value, minus infinity unless it was completed."""
    value = trial.value if trial.state == TrialState.COMPLETE else None
    return -math.inf if value is None else value
