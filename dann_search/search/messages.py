"""What passes between the driver, light trials, workers and the dispatcher, and how it is sent."""

from dataclasses import dataclass
from typing import Any, Protocol

Slot = tuple[str, int]
"""Name of a worker group's run, and the number of the slot in it."""

EpochDict = dict[str, Any]
"""What was measured in one epoch."""


@dataclass(frozen=True)
class Order:
    """A trial to be trained.

    Attributes:
        number: of the trial in the study.
        config: the recipe, as JSON.
        folder: where its checkpoints go; a path or a URL.
        data: folder of the packed store.
        memory: bytes of a node's memory that it takes at its peak, by estimate; 0 where unknown.
        what: what takes them, in words: ``vgg16 at 224 px with batch_size 32``.
    """

    number: int
    config: dict[str, Any]
    folder: str
    data: str
    memory: int = 0
    what: str = ""


@dataclass(frozen=True)
class EpochUpdate:
    """What the driver learns of a trial.

    Attributes:
        history: all epochs so far.
        error: why the trial failed by its own fault, if so.
        cancelled: whether the trial was withdrawn, or is unknown to the dispatcher.
        startup_s: seconds from submission to the first training step.
        nodes: where it was trained, one entry for each start.
    """

    history: tuple[EpochDict, ...]
    error: str | None
    cancelled: bool
    startup_s: float | None
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunHealth:
    """State of a worker group's run.

    Attributes:
        idle_s: seconds since its last slot became idle; 0 while one trains.
        failures: deaths of its workers, in different trials, since its last epoch.
        error: why it can train nothing, if so.
        over: whether it gets no more trials.
        has_trained: whether its workers have made an epoch.
    """

    idle_s: float
    failures: int
    error: str | None
    over: bool
    has_trained: bool


@dataclass(frozen=True)
class Health:
    """State of the dispatcher, for the fleet.

    Attributes:
        pending: trials that wait for a slot.
        runs: by name.
        packing: by host, images packed and images in all.
        unfit: nodes that lack something no restart brings.
        troubles: what slots wait for, in words.
        taken: trials that slots have.
        begun: those of them that train; the others load their network and images.
    """

    pending: int
    runs: dict[str, RunHealth]
    packing: dict[str, tuple[int, int]]
    unfit: frozenset[str]
    troubles: frozenset[str]
    taken: frozenset[int] = frozenset()
    begun: frozenset[int] = frozenset()


class DispatcherCalls(Protocol):
    """Calls the dispatcher's methods by name, wherever it runs."""

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method and return what it returns."""
        ...

    def tell(self, method: str, *arguments: Any) -> Any:
        """Call a method without waiting for it."""
        ...


@dataclass(frozen=True)
class ActorCalls:
    """Calls to the dispatcher's actor."""

    actor: Any

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method and return what it returns; raise Ray's error if the actor is lost."""
        import ray  # here: threads of one process train without it

        return ray.get(getattr(self.actor, method).remote(*arguments))

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method without waiting for it."""
        getattr(self.actor, method).remote(*arguments)
