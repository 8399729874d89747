"""Hands trials to idle slots and carries epoch results back: one asynchronous actor, without torch.

The protocol is idempotent by epoch. A trial asks for what came after the epochs it has seen, which
lets training go on past them; a slot reports the whole history, which fills any gap. So either
side may die and ask again.
"""

import asyncio
import collections
import time
from dataclasses import dataclass, field
from typing import Any

import ray

Slot = tuple[str, int]
"""A worker group's run and the number of the slot in it."""

EpochDict = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What a slot is to train."""

    number: int
    config: dict[str, Any]
    folder: str
    data: str
    """Folder of the packed store it is trained on."""


@dataclass(frozen=True)
class News:
    """What a trial learns: all epochs so far, how it failed, or that the search was interrupted.

    ``startup_s`` is from submission to the first training step.
    """

    history: tuple[EpochDict, ...]
    error: str | None
    cancelled: bool
    startup_s: float | None


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
    owners: set[str] = field(default_factory=set)
    """Light trials that may need it: Tune at times begins one trial in two processes."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class DispatcherState:
    """The dispatcher without Ray around it."""

    def __init__(self, max_worker_deaths: int, trials_per_group: int):
        self.max_worker_deaths, self.trials_per_group = max_worker_deaths, trials_per_group
        self.leases: dict[int, Lease] = {}
        self.pending: collections.deque[int] = collections.deque()
        self.work = asyncio.Condition()
        self.closed = False
        self.running: dict[Slot, int] = {}
        self.visits: dict[Slot, int] = collections.defaultdict(int)
        self.taken: dict[str, int] = collections.defaultdict(int)
        self.first_slot_ready: float | None = None

    # Called by trials.

    async def submit(self, order: Order, owner: str = "") -> None:
        """Queue a trial; one whose light process was restarted finds its lease as it left it."""
        if order.number in self.leases:
            self.leases[order.number].owners.add(owner)
        if order.number in self.leases or self.closed:
            return
        self.leases[order.number] = Lease(order, time.time(), owners={owner})
        async with self.work:
            self.pending.append(order.number)
            self.work.notify_all()

    async def news(self, number: int, seen: int, owner: str = "") -> News:
        """Wait for more than ``seen`` epochs or an error; training may go on past those seen."""
        lease = self.leases.get(number)
        if lease is None:
            return News((), None, True, None)
        lease.owners = {owner}  # any other is dead, or was begun for nothing
        async with lease.changed:
            lease.approved = max(lease.approved, seen)
            lease.changed.notify_all()
            await lease.changed.wait_for(
                lambda: len(lease.history) > seen or lease.error or lease.cancelled
            )
        return News(lease.history, lease.error, lease.cancelled, lease.startup_s)

    async def withdraw(self, number: int, owner: str | None = "") -> None:
        """The trial is over for its owner: done, stopped or gone. None: for whoever it is."""
        lease = self.leases.get(number)
        if lease is None:
            return
        lease.owners = lease.owners - {owner} if owner is not None else set()
        if lease.owners:
            return
        del self.leases[number]
        if number in self.pending:
            self.pending.remove(number)
        async with lease.changed:
            lease.cancelled = True
            lease.changed.notify_all()

    # Called by the chief of a slot.

    async def next_trial(self, slot: Slot) -> Order | None:
        """Wait for a trial. None: the run has no more to do, its workers return."""
        await self._requeue(slot)  # It came back without finishing: its worker was restarted.
        self.visits[slot] += 1
        visit = self.visits[slot]
        self.first_slot_ready = self.first_slot_ready or time.time()
        run = slot[0]
        async with self.work:
            await self.work.wait_for(
                lambda: (
                    self.closed
                    or self.visits[slot] != visit
                    or self._is_worn(run)
                    or bool(self.pending)
                )
            )
            # An old call of a worker that has died since must not take a trial with it.
            if self.closed or self.visits[slot] != visit or self._is_worn(run):
                return None
            number = self.pending.popleft()
            self.running[slot] = number
            self.taken[run] += 1
            lease = self.leases[number]
            lease.slot = slot
            return lease.order

    def _is_worn(self, run: str) -> bool:
        """A run that trained its number of trials returns, and a fresh one takes its place."""
        return self.taken[run] >= self.trials_per_group

    async def began(self, slot: Slot, number: int) -> None:
        """Network and data are ready; training starts now."""
        lease = self.leases.get(number)
        if lease and lease.slot == slot and lease.startup_s is None:
            lease.startup_s = time.time() - lease.submitted

    async def report(self, slot: Slot, number: int, history: tuple[EpochDict, ...]) -> bool:
        """Hand in the epochs so far; wait whether to go on. After the last, there is no wait."""
        lease = self.leases.get(number)
        if lease is None or lease.slot != slot:
            return False
        async with lease.changed:
            if len(history) > len(lease.history):
                lease.history = history
                lease.changed.notify_all()
            if len(history) >= lease.order.config["epochs"]:
                return False
            await lease.changed.wait_for(
                lambda: lease.approved >= len(history) or lease.cancelled or lease.slot != slot
            )
        return not lease.cancelled and lease.slot == slot

    async def finished(self, slot: Slot, number: int, error: str | None = None) -> None:
        """The slot is free again; with an error, the trial has failed by its own fault."""
        if self.running.get(slot) == number:
            del self.running[slot]
        lease = self.leases.get(number)
        if lease and lease.slot == slot and error:
            await self._fail(lease, error)

    # Called by the worker group's controller.

    async def workers_died(self, run: str, slots: dict[int, str]) -> None:
        """Workers of these slots died (why, by slot): all trials of the run are queued again."""
        for slot in [slot for slot in self.running if slot[0] == run]:
            await self._requeue(slot, died=slots.get(slot[1]))
        async with self.work:
            for slot in self.visits:
                if slot[0] == run:
                    self.visits[slot] += 1
            self.work.notify_all()

    async def _requeue(self, slot: Slot, died: str | None = None) -> None:
        """Put a slot's trial at the head of the queue; give up one that always kills its worker."""
        number = self.running.pop(slot, None)
        lease = self.leases.get(number) if number is not None else None
        if lease is None or lease.slot != slot or lease.error:
            return
        async with lease.changed:
            lease.slot = None
            lease.changed.notify_all()
        lease.deaths += died is not None
        if lease.deaths >= self.max_worker_deaths:
            await self._fail(
                lease,
                f"its worker died {lease.deaths} times while training it; the last time: {died}",
            )
            return
        async with self.work:
            self.pending.appendleft(lease.order.number)
            self.work.notify_all()

    async def _fail(self, lease: Lease, error: str) -> None:
        async with lease.changed:
            lease.error = error
            lease.changed.notify_all()

    # Called by the driver.

    async def close(self) -> None:
        """Let idle slots return; those training stop at their next report."""
        self.closed = True
        for number in list(self.leases):
            await self.withdraw(number, None)
        async with self.work:
            self.work.notify_all()

    async def snapshot(self) -> dict[str, Any]:
        """For tests and benchmarks: what is queued, what runs where, when the first slot came."""
        return {
            "pending": list(self.pending),
            "running": {slot: number for slot, number in self.running.items()},
            "leases": sorted(self.leases),
            "deaths": {number: lease.deaths for number, lease in self.leases.items()},
            "visits": dict(self.visits),
            "first_slot_ready": self.first_slot_ready,
        }


Dispatcher = ray.remote(num_cpus=0, max_concurrency=10_000)(DispatcherState)
"""The actor: ``Dispatcher.remote(max_worker_deaths, trials_per_group)``."""
