"""Tune executes, the study remembers: a searcher, a scheduler and a stopper without state."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from dann_search.errors import RunError
from dann_search.search.executor import SearchFleet
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.budget import THEN_CONFIRM, Budget
from dann_search.study.study import Assignment, StudyRecord
from dann_search.study.study_names import NODES, STARTUP
from dann_search.tracking.observer import Observer
from dann_search.training.result import best_of, score_of

MAX_LOSSES = 20
"""Processes of one trial lost in a row, without an epoch between them, that end the search."""


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

    def ended(self, number: int, result: dict[str, Any], stopped: bool) -> None:
        """Close the trial in the study; one that was interrupted stays unfinished there."""
        if error := result["error"]:
            if result["history"]:
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
    """Proposes what the study proposes, and again each trial whose light process was lost.

    Args:
        books: the study.
        stopped: numbers of the trials that the scheduler has stopped.
        reasons: why light processes were lost, by Tune's id of the trial; filled by the scheduler.
        fleet: whose slots train.
    """

    def __init__(
        self, books: Bookkeeper, stopped: set[int], reasons: dict[str, str], fleet: SearchFleet
    ):
        super().__init__(metric="f1_macro_val", mode="max")
        self.books, self.stopped, self.reasons, self.fleet = books, stopped, reasons, fleet
        self.running: dict[str, dict[str, Any]] = {}
        """What Tune runs, by its id: the config of the trial."""
        self._lost: deque[dict[str, Any]] = deque()
        """Configs to propose again."""
        self._losses: Counter[int] = Counter()
        """Processes lost since the last epoch, by the trial's number."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config for Tune, or the end of the search.

        None where all slots are taken: Tune asks again, and a trial proposed later knows more.
        """
        self.fleet.wanted = self.books.record.still_to_run
        if self._lost:
            config = self._lost.popleft()
        elif len(self.running) >= max(1, self.fleet.slots):
            return None
        elif assignment := self.books.next_trial():
            config = self._config(assignment)
        else:
            # Tune asks for no trial once it was told that there are none. Until then those that
            # run may lose their process, or decide which finalists are confirmed.
            over = self.books.record.is_exhausted and not self.running
            return Searcher.FINISHED if over else None
        self.running[trial_id] = config
        return dict(config)

    def _config(self, assignment: Assignment) -> dict[str, Any]:
        return {
            "number": assignment.number,
            "recipe": assignment.config.model_dump(mode="json"),
            "folder": self.books.folder.trial_place(assignment.number),
            "data": str(self.books.folder.data),
            "seen": 0,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Remember what was seen, for another process to go on with."""
        config = self.running[trial_id]
        config["seen"] = result["epoch"]
        self._losses.pop(config["number"], None)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Close a trial that ended, or go on with it in another process where its own was lost.

        Raises:
            RunError: Tune says that closing the trial failed; its log has the error.
        """
        config = self.running.pop(trial_id, None)
        if config is None:
            raise RunError("a trial that ended could not be closed")
        if error:
            # A trial's own error is a result: only its light process was lost.
            self._go_on(config, self.reasons.pop(trial_id, ""))
        else:
            # The process that followed it may be dead by now: the slot must not wait for it.
            self.fleet.withdraw(config["number"])
            self._close(config["number"], result)
        self.fleet.wanted = self.books.record.still_to_run

    def _close(self, number: int, result: dict[str, Any] | None) -> None:
        if result is None:
            self.books.interrupted(number)
        else:
            self.books.ended(number, result, number in self.stopped)

    def _go_on(self, config: dict[str, Any], reason: str) -> None:
        """Propose a trial again; end the search where its processes are lost whatever happens."""
        number = config["number"]
        self._losses[number] += 1
        if self.fleet.has_lost_dispatcher():  # it ends the search, which can be resumed
            self.books.interrupted(number)
        elif self._losses[number] < MAX_LOSSES:
            self._lost.append(config)
        else:
            self.fleet.error = (
                f"Ray Tune's process for trial {number} was lost {MAX_LOSSES} times without an "
                f"epoch between; the last time: {reason}"
            )
            self.books.interrupted(number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study has it. Tune wants a file."""
        with open(checkpoint_path, "w", encoding="utf-8"):
            pass

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a search is resumed from its study, by a new Tune run."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudyScheduler(FIFOScheduler):
    """Stops the trials that Optuna's pruner stops; ``reasons`` are as the searcher's."""

    def __init__(self, books: Bookkeeper, stopped: set[int], reasons: dict[str, str]):
        super().__init__()
        self.books, self.stopped, self.reasons = books, stopped, reasons

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report to the study, ask its pruner."""
        if result["cancelled"]:
            return TrialScheduler.STOP
        number = int(trial.config["number"])
        if self.books.result(number, result):
            self.stopped.add(number)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep the reason why a light process was lost; the searcher is told of the loss next."""
        said = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
        self.reasons[trial.trial_id] = said.strip().rpartition("\n")[2]

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SearchStopper(Stopper):
    """Ends the search on an interrupt, when its budget is spent, or when there are no workers.

    Unfinished trials stay so in the study: the search can be resumed. Where finalists are to be
    confirmed and hours are left, running trials go on to their end and the finalists come after.
    """

    def __init__(self, interrupt: threading.Event, budget: Budget, fleet: SearchFleet):
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
