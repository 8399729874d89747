"""Write what happens in a search into its study, and tell the observers."""

from collections.abc import Callable
from functools import partial
from typing import Any

from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import OutageError, Outages
from dann_search.study.proposals import Assignment
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import NODES, STARTUP
from dann_search.tracking.observer import Observer
from dann_search.training.result import best_of, score_of


class Bookkeeper:
    """Writes what happens into the study, then tells the observers, all in Tune's loop.

    While the study or the folder cannot be written the loop waits, and with it the trials. Once
    that has lasted too long nothing more is written: the search ends, its trials unfinished.
    ``give_up`` is then called with the reason.
    """

    def __init__(
        self,
        record: StudyRecord,
        folder: ExperimentFolder,
        observers: list[Observer],
        outages: Outages,
        give_up: Callable[[str], None],
    ):
        self.record, self.folder, self.observers = record, folder, observers
        self.outages, self.give_up = outages, give_up
        self.has_given_up = False
        self.epochs = record.space.fixed.epochs
        self.objective = record.experiment.search.objective
        self._nodes: dict[int, tuple[str, ...]] = {}
        self._best: dict[int, int] = {}
        self._told: set[int] = set()

    def _hold(self, action: Callable[[], Any]) -> Any:
        """Do it once storage answers; return None where it does not any more."""
        if self.has_given_up:
            return None
        try:
            return self.outages.hold(action)
        except OutageError as exc:
            self.has_given_up = True
            self.give_up(f"the study or the experiment's folder cannot be written: {exc}")
            return None

    def _tell(self, event: str, *facts: Any) -> None:
        """Call a method of every observer."""
        for observer in self.observers:
            self._hold(partial(getattr(observer, event), *facts))

    def next_trial(self) -> Assignment | None:
        """Take the next trial from the study."""
        assignment: Assignment | None = self._hold(self.record.next_trial)
        if assignment:
            known = self._hold(partial(self._scores, assignment.number)) or []
            self._tell("trial_started", assignment.number, assignment.config, known)
        return None if self.has_given_up else assignment

    @property
    def still_to_run(self) -> int:
        """Trials that run or are to run."""
        return self._hold(lambda: self.record.proposals.still_to_run) or 0

    @property
    def is_exhausted(self) -> bool:
        """Whether no trial will be proposed any more."""
        return bool(self._hold(lambda: self.record.proposals.is_exhausted)) or self.has_given_up

    def _scores(self, number: int) -> list[float]:
        return list(self.record.frozen(number).intermediate_values.values())

    def result(self, number: int, result: dict[str, Any]) -> bool:
        """Store new epochs; return whether the pruner stops the trial."""
        history = result["history"]
        # Known before the first attempt: one that was cut off may have stored some of them.
        known = self._hold(partial(self._scores, number))
        stops = bool(self._hold(partial(self._store, number, result)))
        # Told once at least: one that was cut off after its last epoch has none that is new.
        is_first = number not in self._told
        if history and known is not None and (is_first or len(history) > len(known)):
            self._told.add(number)
            self._tell("epochs_done", number, history, len(known))
        return stops

    def _store(self, number: int, result: dict[str, Any]) -> bool:
        """Write new epochs and the pruner's word on them into the study, all or nothing."""
        history, record = result["history"], self.record
        best = best_of(history, self.objective) if history else None
        nodes: tuple[str, ...] = result["nodes"]
        with record.together():
            record.report(number, [score_of(epoch, self.objective) for epoch in history])
            if best and self._best.get(number) != best["epoch"]:
                record.note_best(number, best)
            if nodes and self._nodes.get(number) != nodes:
                if number not in self._nodes:
                    record.note(number, STARTUP, round(result["startup_s"], 4))
                record.note(number, NODES, list(nodes))
            stops = len(history) < self.epochs and record.should_stop(number)
        if best:
            self._best[number] = best["epoch"]
        if nodes:
            self._nodes[number] = nodes
        return stops

    def ended(self, number: int, result: dict[str, Any], stopped: bool) -> None:
        """Close the trial in the study; one that was interrupted stays unfinished there."""
        if error := result["error"]:
            if result["history"]:
                self.result(number, result)
            self._close("failed", number, partial(self.record.fail, number, error), error)
        elif stopped:
            self._close("pruned", number, partial(self.record.prune, number))
        elif not result["cancelled"] and result["epoch"] >= self.epochs:
            self.result(number, result)  # Tune tells a trial's last result to the searcher alone.
            self._close("completed", number, partial(self.record.complete, number))
        else:
            self.interrupted(number)

    def interrupted(self, number: int) -> None:
        """Leave the trial unfinished in the study, for a resumed search to continue."""
        self._tell("trial_ended", number, "interrupted", None)

    def _close(
        self, state: str, number: int, store: Callable[[], None], error: str | None = None
    ) -> None:
        # Before the study: a trial that is over there has its file, whenever this is cut off.
        self._tell("trial_ending", number, state, error)
        self._hold(store)
        self._tell("trial_ended", number, state, error)
