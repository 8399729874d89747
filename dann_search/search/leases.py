"""What passes between trials, dispatcher and slots."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

Slot = tuple[str, int]
"""A worker group's run and the number of the slot in it."""

EpochDict = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What a slot is to train; ``data`` is the folder of the packed store."""

    number: int
    config: dict[str, Any]
    folder: str
    data: str


@dataclass(frozen=True)
class News:
    """What a trial learns: all epochs so far, how it failed, or that the search was interrupted.

    ``startup_s`` is from submission to the first training step, ``nodes`` are where it trains.
    """

    history: tuple[EpochDict, ...]
    error: str | None
    cancelled: bool
    startup_s: float | None
    nodes: tuple[str, ...] = ()


@dataclass
class Lease:
    """A trial in the dispatcher's hands."""

    order: Order
    submitted: float
    history: tuple[EpochDict, ...] = ()
    approved: int = 0
    """Epochs after which training may go on."""
    cancelled: bool = False
    error: str | None = None
    slot: Slot | None = None
    deaths: int = 0
    startup_s: float | None = None
    nodes: tuple[str, ...] = ()
    """Where it was trained, each time it began there."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


@dataclass
class Run:
    """A worker group's run as the dispatcher knows it.

    Attributes:
        nodes: that its workers are on.
        training: number of the trial in each busy slot.
        taken: trials handed to it.
        suspects: trials that its workers died in since its last epoch.
        starts_failed: deaths of workers that trained nothing since its last epoch.
        excused: slots whose workers leave because their trial failed by its own fault.
        over: it gets no more trials, and its workers return.
        error: why it can train nothing, if so.
        paused: set when its trials are to stop at their next step.
        idle_since: when its last slot became idle; None while one trains.
    """

    nodes: set[str] = field(default_factory=set)
    training: dict[int, int] = field(default_factory=dict)
    taken: int = 0
    suspects: set[int] = field(default_factory=set)
    starts_failed: int = 0
    excused: set[int] = field(default_factory=set)
    over: bool = False
    error: str | None = None
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    idle_since: float | None = None


@dataclass(frozen=True)
class RunHealth:
    """What the fleet is told of a run."""

    training: int
    idle_s: float
    failures: int
    error: str | None
    over: bool


@dataclass(frozen=True)
class Health:
    """What the fleet is told of all: waiting trials, runs, packing by host, nodes without use."""

    pending: int
    runs: dict[str, RunHealth]
    packing: dict[str, tuple[int, int]]
    unfit: frozenset[str]
