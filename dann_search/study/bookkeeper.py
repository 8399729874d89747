"""Write what happens in a search into its study, and tell the observers."""

from collections.abc import Callable
from typing import Any

from dann_search.storage.layout import ExperimentFolder
from dann_search.study.proposals import Assignment
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import NODES, STARTUP
from dann_search.tracking.observer import Observer
from dann_search.training.result import best_of, score_of


class Bookkeeper:
    """Writes what happens into the study, then tells the observers, all in Tune's loop.

    Args:
        record: the study.
        folder: of the experiment.
        observers: told after the study has it.
    """

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
        """Store new epochs; return whether the pruner stops the trial."""
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
        """Leave the trial unfinished in the study, for a resumed search to go on with."""
        for observer in self.observers:
            observer.trial_ended(number, "interrupted", None)

    def _close(
        self, state: str, number: int, store: Callable[[], None], error: str | None = None
    ) -> None:
        store()
        for observer in self.observers:
            observer.trial_ended(number, state, error)
