"""Where the trials of a search are trained: on a Ray cluster, or in this process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dann_search.config.experiment import ResourcesConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.node_store import StoreSpec
from dann_search.search.ray_session import ray_session
from dann_search.search.resources import cpu_count
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import Outages, Troubles
from dann_search.study.study import StudyRecord
from dann_search.tracking.observer import Observer

if TYPE_CHECKING:
    from dann_search.study.budget import Budget


@dataclass(frozen=True)
class RunningSearch:
    """What an executor needs to know of a search.

    Attributes:
        record: the study.
        folder: of the experiment.
        store: its packed images.
        interrupt: set by Ctrl-C.
        tell: called with a line when something happens to a node.
        troubles: what is waited for.
        outages: waits for the storage of the study and of the experiment's folder.
        kept: what is not lost, shown if the process has to end before the search does.
    """

    record: StudyRecord
    folder: ExperimentFolder
    store: StoreSpec
    interrupt: threading.Event
    tell: Callable[[str], None]
    troubles: Troubles
    outages: Outages
    kept: str


class SearchFleet(Protocol):
    """The slots that train a search's trials.

    Attributes:
        slots: trials that may train at once now.
        wanted: trials that could train at once if there were room; set by the search.
        error: why nothing can be trained any more, if so.
        resources: what a trial takes.
        gpus_per_worker: as resolved where the user left it to the machine.
    """

    wanted: int
    error: str | None
    resources: ResourcesConfig

    @property
    def slots(self) -> int: ...  # noqa: D102

    @property
    def gpus_per_worker(self) -> float: ...  # noqa: D102

    def memory_of(self, config: TrialConfig) -> tuple[int, str]:
        """Return bytes that a trial takes at its peak, 0 where unknown, and of what, in words."""
        ...

    def withdraw(self, number: int) -> None:
        """End a trial, done or not; do not wait until its slot is free."""

    def has_lost_dispatcher(self) -> bool:
        """Return whether the dispatcher is dead, and with it the search; ``error`` then says so."""

    def close(self, *, pause: bool) -> None:
        """Have trials end at their next epoch, or at their next step."""


class Executor(Protocol):
    """Trains the trials of a search."""

    def fleet(self, search: RunningSearch) -> AbstractContextManager[Any]:
        """Keep slots while the block lasts; yield None if the user interrupted their start."""
        ...

    def follow(
        self, search: RunningSearch, observers: list[Observer], fleet: Any, budget: "Budget"
    ) -> str:
        """Run trials until the study has no more; return what ended the search."""
        ...


@dataclass(frozen=True)
class RayExecutor:
    """Trains on a Ray cluster: one of its own, or the one at ``address``; Ray Tune follows."""

    address: str = "local"

    @contextmanager
    def fleet(self, search: RunningSearch) -> Iterator[SearchFleet | None]:
        """As in ``Executor``."""
        with ray_session(cpu_count(), self.address, tell=search.tell, kept=search.kept):
            if search.interrupt.is_set():  # before or while Ray started
                yield None
                return
            from dann_search.search.fleet import running_fleet
            from dann_search.search.trial_memory import largest_recipes

            with running_fleet(
                search.record.experiment,
                store=search.store,
                logs=search.folder.ray,
                elastic=self.address != "local",
                wanted=search.record.proposals.still_to_run,
                interrupt=search.interrupt,
                tell=search.tell,
                troubles=partial(search.troubles.now, "workers"),
                recipes=partial(largest_recipes, search.record.space),
            ) as fleet:
                yield fleet

    def follow(
        self, search: RunningSearch, observers: list[Observer], fleet: Any, budget: "Budget"
    ) -> str:
        """As in ``Executor``."""
        from dann_search.search.tune_run import run_tune

        return run_tune(search, observers, fleet, budget)


ON_THIS_MACHINE = RayExecutor()
