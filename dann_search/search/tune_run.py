"""The Tune run of a search: it executes what the study proposes, without a memory of its own.

Searcher, scheduler and stopper keep no state: the study has it.
"""

import threading
import time
from collections import Counter, deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow.fs import LocalFileSystem
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from dann_search.errors import RunError
from dann_search.search.executor import RunningSearch, SearchFleet
from dann_search.search.messages import Order
from dann_search.search.ray_private import HEAD
from dann_search.search.trial import LightTrial
from dann_search.study.bookkeeper import Bookkeeper
from dann_search.study.budget import THEN_CONFIRM, Budget
from dann_search.study.proposals import Assignment
from dann_search.tracking.observer import Observer

if TYPE_CHECKING:
    from dann_search.search.fleet import Fleet

MAX_LOSSES = 20
"""Processes of one trial lost in a row, without an epoch between them, that end the search."""
MANY_TRIALS = 64
"""Up to so many light trials (0.12 GB each) stay on the head; more are spread over the nodes."""


def run_tune(
    search: RunningSearch, observers: list[Observer], fleet: "Fleet", budget: Budget
) -> str:
    """Run trials until the study has no more; return what ended the search."""
    searcher, scheduler, stopper = adapters(search, observers, fleet, budget)
    few = fleet.most_slots <= MANY_TRIALS
    place = {HEAD: 0.001} if few else {"CPU": 0.001}
    trainable = tune.with_resources(
        tune.with_parameters(LightTrial, dispatcher=fleet.dispatcher),
        tune.PlacementGroupFactory([place]),
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            metric="epoch",  # Tune wants one; the study, not Tune, judges trials
            mode="max",
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(search.logs),
            # Otherwise a path is read as a URL, in which "?" and "%" have a meaning.
            storage_filesystem=LocalFileSystem(),
            name=f"tune-{int(time.time())}",
            verbose=0,
            # Tune's choice in a notebook clears the cell's output, though it has nothing to say.
            progress_reporter=tune.CLIReporter(),
            stop=stopper,
            # Tune's own retries count and give up; the searcher proposes a lost trial again.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=0, checkpoint_at_end=False
            ),
        ),
    )
    tuner.fit()
    return stopper.reason or stopper.last


def adapters(
    search: RunningSearch, observers: list[Observer], fleet: SearchFleet, budget: Budget
) -> tuple["StudySearcher", "StudyScheduler", "SearchStopper"]:
    """Make what stands between Tune and the study; a search ends where its storage stays away."""

    def give_up(error: str) -> None:
        fleet.error = fleet.error or error

    record = search.record
    bookkeeper = Bookkeeper(record, record.folder, observers, search.outages, give_up)
    scheduler = StudyScheduler(bookkeeper)
    stopper = SearchStopper(search.interrupt, budget, fleet)
    return StudySearcher(scheduler, fleet, search.store.place), scheduler, stopper


class StudyScheduler(FIFOScheduler):
    """Stops the trials that Optuna's pruner stops."""

    def __init__(self, bookkeeper: Bookkeeper):
        super().__init__()
        self.bookkeeper = bookkeeper
        self.stopped: set[int] = set()
        """Numbers of the trials it has stopped."""
        self.reasons: dict[str, str] = {}
        """Why light processes were lost, by Tune's id of the trial."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report to the study, ask its pruner."""
        if result["cancelled"]:
            return TrialScheduler.STOP
        number = int(trial.config["number"])
        if self.bookkeeper.result(number, result):
            self.stopped.add(number)
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep the reason why a light process was lost; the searcher is told of the loss next."""
        said = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
        self.reasons[trial.trial_id] = said.strip().rpartition("\n")[2]

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudySearcher(Searcher):
    """Proposes what the study proposes, and each trial whose light process was lost once more.

    Args:
        scheduler: knows which trials were stopped, and why light processes were lost.
        fleet: whose slots train.
        store: folder of the packed images, as the fleet knows it.
    """

    def __init__(self, scheduler: StudyScheduler, fleet: SearchFleet, store: str):
        super().__init__(metric="epoch", mode="max")
        self.scheduler, self.fleet, self.store = scheduler, fleet, store
        self.bookkeeper = scheduler.bookkeeper
        self.running: dict[str, dict[str, Any]] = {}
        """What Tune runs, by its id: the config of the trial."""
        self._lost: deque[dict[str, Any]] = deque()
        """Configs to propose again."""
        self._losses: Counter[int] = Counter()
        """Processes lost since the last epoch, by the trial's number."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial's config for Tune, or the end of the search.

        None where all slots are taken: Tune asks again, and a trial proposed later knows more.
        """
        self.fleet.wanted = self.bookkeeper.still_to_run
        if self._lost:
            config = self._lost.popleft()
        elif len(self.running) >= max(1, self.fleet.slots):
            return None
        elif assignment := self.bookkeeper.next_trial():
            config = self._config(assignment)
        else:
            # Tune asks for no trial once it was told that there are none. Until then those that
            # run may lose their process, or decide which finalists are confirmed.
            over = self.bookkeeper.is_exhausted and not self.running
            return Searcher.FINISHED if over else None
        self.running[trial_id] = config
        return dict(config)

    def _config(self, assignment: Assignment) -> dict[str, Any]:
        number, recipe = assignment.number, assignment.config.model_dump(mode="json")
        folder, needs = self.bookkeeper.folder, self.fleet.memory_of(assignment.config)
        order = Order(number, recipe, folder.trial_place(number), self.store, *needs)
        return {"number": number, "order": asdict(order), "seen": 0}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Remember what was seen, for another process to continue with."""
        config = self.running[trial_id]
        config["seen"] = result["epoch"]
        self._losses.pop(config["number"], None)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Close a trial that ended, or continue with it in another process where its own was lost.

        Raises:
            RunError: Tune says that closing the trial failed; its log has the error.
        """
        config = self.running.pop(trial_id, None)
        if config is None:
            raise RunError("a trial that ended could not be closed")
        if error:
            # A trial's own error is a result: only its light process was lost.
            self._go_on(config, self.scheduler.reasons.pop(trial_id, ""))
        else:
            # The process that followed it may be dead by now: the slot must not wait for it.
            number = config["number"]
            self.fleet.withdraw(number)
            if result is None:
                self.bookkeeper.interrupted(number)
            else:
                self.bookkeeper.ended(number, result, number in self.scheduler.stopped)
        self.fleet.wanted = self.bookkeeper.still_to_run

    def _go_on(self, config: dict[str, Any], reason: str) -> None:
        """Propose a trial again; end the search where its processes are lost whatever happens."""
        number = config["number"]
        self._losses[number] += 1
        is_over = self.fleet.has_lost_dispatcher()  # with it the search, which can be resumed
        if not is_over and self._losses[number] < MAX_LOSSES:
            self._lost.append(config)
            return
        if not is_over:
            self.fleet.error = (
                f"Ray Tune's process for trial {number} was lost {MAX_LOSSES} times without an "
                f"epoch between; the last time: {reason}"
            )
        self.bookkeeper.interrupted(number)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study has it. Tune wants a file."""
        with open(checkpoint_path, "w", encoding="utf-8"):
            pass

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a search is resumed from its study, by a new Tune run."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SearchStopper(Stopper):
    """Ends the search on an interrupt, when its budget is spent, or when there are no workers.

    Unfinished trials stay so in the study: the search can be resumed. Where finalists are to be
    confirmed and hours are left, running trials train to their end and the finalists come after.
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
        record.proposals.end_early()
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {}
