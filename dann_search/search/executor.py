"""Where a search's trials are trained: on a Ray cluster, or in this process (``in_process``)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dann_search.config.experiment import Experiment, ResourcesConfig
from dann_search.data.node_store import store_of
from dann_search.layout import ExperimentFolder
from dann_search.search.ray_session import ray_session
from dann_search.search.record import recorded_store
from dann_search.search.resources import cpu_count
from dann_search.search.study import StudyRecord
from dann_search.tracking.observer import Observer

if TYPE_CHECKING:
    from dann_search.search.budget import Budget


class Slots(Protocol):
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

    def withdraw(self, number: int) -> None:
        """End a trial, done or not; nobody waits until its slot is free."""

    def has_lost_dispatcher(self) -> bool:
        """Whether the dispatcher is dead, and with it the search; then ``error`` says so."""

    def close(self, *, pause: bool) -> None:
        """Have trials end at their next epoch, or at their next step."""


class Executor(Protocol):
    """Trains the trials of a search."""

    def slots(
        self,
        experiment: Experiment,
        record: StudyRecord,
        folder: ExperimentFolder,
        interrupt: threading.Event,
        tell: Callable[[str], None],
        kept: str,
    ) -> AbstractContextManager[Any]:
        """Slots for as long as the block lasts; None where the user interrupted their start.

        Args:
            experiment: what a trial takes, its weights and objective.
            record: the study.
            folder: of the experiment.
            interrupt: set by Ctrl-C.
            tell: told in a line what happens to nodes.
            kept: said if the process must end within the block: what is not lost.
        """
        ...

    def follow(
        self,
        folder: ExperimentFolder,
        record: StudyRecord,
        observers: list[Observer],
        slots: Any,
        interrupt: threading.Event,
        budget: "Budget",
    ) -> str:
        """Run trials until the study has no more; return what ended the search."""
        ...


@dataclass(frozen=True)
class RayExecutor:
    """Trains on a Ray cluster: one of its own, or the one at ``address``; Ray Tune follows."""

    address: str = "local"

    @contextmanager
    def slots(
        self,
        experiment: Experiment,
        record: StudyRecord,
        folder: ExperimentFolder,
        interrupt: threading.Event,
        tell: Callable[[str], None],
        kept: str,
    ) -> Iterator[Slots | None]:
        """As in ``Executor``."""
        with ray_session(cpu_count(), self.address, tell=tell, kept=kept):
            if interrupt.is_set():  # before or while Ray started
                yield None
                return
            from dann_search.search.groups import running_fleet

            with running_fleet(
                experiment,
                store=store_of(folder, experiment.data, recorded_store(folder)),
                logs=folder.ray,
                elastic=self.address != "local",
                wanted=record.still_to_run,
                interrupt=interrupt,
                tell=tell,
            ) as fleet:
                yield fleet

    def follow(
        self,
        folder: ExperimentFolder,
        record: StudyRecord,
        observers: list[Observer],
        slots: Any,
        interrupt: threading.Event,
        budget: "Budget",
    ) -> str:
        """As in ``Executor``."""
        from dann_search.search.tune_run import run_tune

        return run_tune(folder, record, observers, slots, interrupt, budget)


ON_THIS_MACHINE = RayExecutor()
