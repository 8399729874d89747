"""Where the trials of a search are trained: on a Ray cluster; in tests, in one process."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dann_search.config.experiment import ExperimentConfig, ResourcesConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.node_store import StoreSpec
from dann_search.search.ray_session import ray_session
from dann_search.search.resources import cpu_count
from dann_search.storage.outages import Outages
from dann_search.study.study import StudyRecord
from dann_search.tracking.observer import Observer

if TYPE_CHECKING:
    from dann_search.study.budget import Budget


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a fleet is to train, and whom it tells about it.

    Attributes:
        experiment: its resources, weights and objective.
        store: the experiment's packed images; trainings may name others, which all nodes see.
        logs: folder of Ray's logs.
        wanted: trials that could run at once if there were room.
        recipes: returns the largest that are trained; slots are planned by their memory.
        interrupt: set by Ctrl-C.
        tell: called with a line when something happens to a node.
        troubles: called with what slots wait for.
        kept: what is not lost, shown if the process has to end before the work does.
        stage: called with what is done before the first training begins.
    """

    experiment: ExperimentConfig
    store: StoreSpec
    logs: Path
    wanted: int
    recipes: Callable[[], Iterable[TrialConfig]] = tuple
    interrupt: threading.Event
    tell: Callable[[str], None]
    troubles: Callable[[Collection[str]], None] = lambda lines: None
    kept: str = ""
    stage: Callable[[str], None] = lambda doing: None


@dataclass(frozen=True, kw_only=True)
class RunningSearch(Work):
    """A search's work.

    Attributes:
        record: the study.
        outages: waits for the storage of the study and of the experiment's folder.
    """

    record: StudyRecord
    outages: Outages


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
    gpus_per_worker: float

    @property
    def slots(self) -> int: ...  # noqa: D102

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

    def fleet(self, work: Any) -> AbstractContextManager[Any]:
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
    def fleet(self, work: Work) -> Iterator[Any]:
        """As in ``Executor``. Trials that still run when the block ends are saved."""
        with ExitStack() as stack:
            session = ray_session(cpu_count(), self.address, tell=work.tell, kept=work.kept)
            try:
                stack.enter_context(session)
            except KeyboardInterrupt:
                if not work.interrupt.is_set():
                    raise
            if work.interrupt.is_set():  # before or while Ray started
                yield None
                return
            from dann_search.search.fleet import Fleet

            fleet = Fleet(work, elastic=self.address != "local")
            fleet.start()
            try:
                yield fleet
            finally:
                fleet.end()

    def follow(
        self, search: RunningSearch, observers: list[Observer], fleet: Any, budget: "Budget"
    ) -> str:
        """As in ``Executor``."""
        from dann_search.search.tune_run import run_tune

        return run_tune(search, observers, fleet, budget)


ON_THIS_MACHINE = RayExecutor()
