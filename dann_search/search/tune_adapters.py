"""Tune executes, the study remembers: a searcher, a scheduler and a stopper without state."""

import threading
from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from dann_search.layout import ExperimentFolder
from dann_search.search.budget import THEN_CONFIRM, Budget
from dann_search.search.fleet import Fleet
from dann_search.search.study import Assignment, StudyRecord
from dann_search.study_names import NODES, STARTUP
from dann_search.tracking.observer import Observer
from dann_search.training.result import best_of, score_of


class Bookkeeper:
    """Writes what happens into the study, then tells the observers, all in Tune's loop."""

    def __init__(self, record: StudyRecord, folder: ExperimentFolder, observers: list[Observer]):
        self.record, self.folder, self.observers = record, folder, observers
        self.epochs = record.space.fixed.epochs
        self.objective = record.experiment.search.objective
        self._nodes: dict[int, tuple[str, ...]] = {}
        self._best: dict[int, int] = {}

    def next_trial(self) -> Assignment | None:
        """Take the next trial from the study."""
        assignment = self.record.next_trial()
        if assignment:
            known = list(self.record.frozen(assignment.number).intermediate_values.values())
            for observer in self.observers:
                observer.trial_started(assignment.number, assignment.config, known)
        return assignment

    def result(self, number: int, result: dict[str, Any]) -> bool:
        """Store new epochs; whether the pruner stops the trial."""
        history = result["history"]
        known = self.record.report(number, [score_of(epoch, self.objective) for epoch in history])
        best = best_of(history, self.objective) if history else None
        if best and self._best.get(number) != best["epoch"]:
            self._best[number] = best["epoch"]
            self.record.note_best(number, best)
        if result["nodes"] and self._nodes.get(number) != result["nodes"]:
            if number not in self._nodes:
                self.record.note(number, STARTUP, round(result["startup_s"], 4))
            self._nodes[number] = result["nodes"]
            self.record.note(number, NODES, list(result["nodes"]))
        if len(history) > known:
            for observer in self.observers:
                observer.epochs_done(number, history, known)
        return len(history) < self.epochs and self.record.should_stop(number)

    def ended(
        self, number: int, result: dict[str, Any] | None, stopped: bool, crashed: bool
    ) -> None:
        """Close the trial in the study; one that was interrupted stays unfinished there."""
        if crashed or result is None or result["error"]:
            error = (
                result["error"] if result and result["error"] else "the trial's process was lost"
            )
            if result and result["history"]:
                self.result(number, result)
            self._close("failed", number, lambda: self.record.fail(number, error), error)
        elif stopped:
            self._close("pruned", number, lambda: self.record.prune(number))
        elif not result["cancelled"] and result["epoch"] >= self.epochs:
            self.result(number, result)  # Tune tells a trial's last result to the searcher alone.
            self._close("completed", number, lambda: self.record.complete(number))
        else:
            self.interrupted(number)

    def interrupted(self, number: int) -> None:
        """The trial stays unfinished in the study; a resumed search goes on with it."""
        for observer in self.observers:
            observer.trial_ended(number, "interrupted", None)

    def _close(
        self, state: str, number: int, store: Callable[[], None], error: str | None = None
    ) -> None:
        store()
        for observer in self.observers:
            observer.trial_ended(number, state, error)


class StudySearcher(Searcher):
    """Proposes what the study proposes."""

    def __init__(self, books: Bookkeeper, stopped: set[int], fleet: Fleet):
        super().__init__(metric="f1_macro_val", mode="max")
        self.books, self.stopped, self.fleet = books, stopped, fleet
        self.numbers: dict[str, int] = {}
        self.running: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config for Tune, or the end of the search.

        None where all slots are taken: Tune asks again, and a trial proposed later knows more.
        """
        self.fleet.wanted = self.books.record.still_to_run
        if len(self.running) >= max(1, self.fleet.slots):
            return None
        assignment = self.books.next_trial()
        if assignment is None:
            # Finalists are confirmed once all others have ended: until then Tune asks again.
            return Searcher.FINISHED if self.books.record.is_exhausted else None
        self.numbers[trial_id] = assignment.number
        self.running.add(trial_id)
        return {
            "number": assignment.number,
            "recipe": assignment.config.model_dump(mode="json"),
            "folder": self.books.folder.trial_place(assignment.number),
            "data": str(self.books.folder.data),
        }

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial ended, whichever way."""
        number = self.numbers[trial_id]
        self.running.discard(trial_id)
        if error and self.fleet.has_lost_dispatcher():
            # Nothing is wrong with the trial: it goes on when the search is resumed.
            self.books.interrupted(number)
        else:
            self.books.ended(number, result, number in self.stopped, error)
        # Tune asks for no trial once it was told that there are none: this is the last to be heard.
        self.fleet.wanted = self.books.record.still_to_run

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study has it. Tune wants a file."""
        with open(checkpoint_path, "w", encoding="utf-8"):
            pass

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a search is resumed from its study, by a new Tune run."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyScheduler(FIFOScheduler):
    """Stops the trials that Optuna's pruner stops."""

    def __init__(self, books: Bookkeeper, stopped: set[int]):
        super().__init__()
        self.books, self.stopped = books, stopped

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report to the study, ask its pruner."""
        if result["cancelled"]:
            return TrialScheduler.STOP
        number = int(trial.config["number"])
        if self.books.result(number, result):
            self.stopped.add(number)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SearchStopper(Stopper):
    """Ends the search on an interrupt, when its budget is spent, or when there are no workers.

    Unfinished trials stay so in the study: the search can be resumed. Where finalists are to be
    confirmed and hours are left, running trials go on to their end and the finalists come after.
    """

    def __init__(self, interrupt: threading.Event, budget: Budget, fleet: Fleet):
        self.interrupt, self.budget, self.fleet = interrupt, budget, fleet
        self.reason: str | None = None
        """Why the search is ended now."""
        self.last: str = "trials"
        """Why nothing new is proposed."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials are the scheduler's business."""
        return False

    def stop_all(self) -> bool:
        """Whether the whole search ends now."""
        if self.reason is None:
            if self.interrupt.is_set():
                self.reason = "interrupt"
            elif self.fleet.error:
                self.reason = "error"
            else:
                self.reason = self._spent()
            if self.reason:
                self.fleet.close(pause=self.reason == "interrupt")
        return self.reason is not None

    def _spent(self) -> str | None:
        reason, record = self.budget.reached(), self.budget.record
        if reason not in THEN_CONFIRM or record.experiment.search.confirm is None:
            return reason
        self.last = reason
        record.end_early()
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {}
