"""Trials in the dispatcher's hands: which wait for a slot, and what was reported of each."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from dann_search.search.messages import EpochDict, EpochUpdate, Order, Slot
from dann_search.search.resources import gigabytes
from dann_search.training.result import OUT_OF_MEMORY

MAX_LOSSES = 5
"""Workers that a trial may lose in a row without an epoch between them, by no fault of its own."""
MATTER = ("backbone", "batch_size", "unfrozen_depth")
"""Parameters of a recipe that a message on memory names."""


@dataclass
class Lease:
    """A trial from its submission to its withdrawal.

    Attributes:
        order: what is to be trained.
        submitted: when, in seconds since the epoch.
        history: epochs reported so far.
        approved: epochs after which training may continue.
        slot: that trains it; None while it waits for one.
        deaths: of workers, while they trained it; not those for memory.
        losses: of workers by no fault of the trial, in a row without an epoch between them.
        alone: whether it trains only where nothing else does, as memory did not suffice before.
        overtaken: trials behind it in the queue that found room where it did not.
        nodes: where it was trained, one entry for each start.
        changed: notified of every change.
    """

    order: Order
    submitted: float
    history: tuple[EpochDict, ...] = ()
    approved: int = 0
    cancelled: bool = False
    error: str | None = None
    slot: Slot | None = None
    deaths: int = 0
    losses: int = 0
    alone: bool = False
    overtaken: int = 0
    startup_s: float | None = None
    nodes: tuple[str, ...] = ()
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def update(self) -> EpochUpdate:
        """What the driver is told."""
        return EpochUpdate(self.history, self.error, self.cancelled, self.startup_s, self.nodes)

    async def change(self, **attributes: Any) -> None:
        """Set attributes and wake those who wait for a change."""
        async with self.changed:
            vars(self).update(attributes)
            self.changed.notify_all()


class Leases:
    """The trials by number, and the queue of those that wait.

    The protocol is idempotent by epoch. The driver asks for what came after the epochs it has seen,
    which lets training continue past them; a slot reports the whole history, which fills any gap.
    So either side may die and ask again.
    """

    def __init__(self, max_worker_deaths: int):
        self.max_worker_deaths = max_worker_deaths
        self.by_number: dict[int, Lease] = {}
        self.pending: deque[int] = deque()
        self.withdrawn: set[int] = set()

    def submit(self, order: Order) -> None:
        """Queue a trial, unless it is here already or was withdrawn.

        Tune may begin one trial in several processes, after a crash or for nothing, some of them
        only when the trial is over.
        """
        number = order.number
        if number in self.by_number or number in self.withdrawn:
            return
        self.by_number[number] = Lease(order, time.time())
        self.pending.append(number)

    async def epochs_after(self, number: int, seen: int) -> EpochUpdate:
        """Wait for more than ``seen`` epochs or an error; training may continue past those seen.

        An error comes after the epochs before it: the trial may be stopped because of them.
        """
        lease = self.by_number.get(number)
        if lease is None:
            return EpochUpdate((), None, True, None)
        async with lease.changed:
            # With the lock: another call, of a process that was lost, may have seen fewer.
            lease.approved = max(lease.approved, seen)
            lease.changed.notify_all()
            await lease.changed.wait_for(
                lambda: len(lease.history) > seen or lease.error or lease.cancelled
            )
        return replace(lease.update, error=None) if len(lease.history) > seen else lease.update

    def take(self, number: int, slot: Slot) -> Order:
        """Give a trial that waits to a slot."""
        self.pending.remove(number)
        lease = self.by_number[number]
        lease.slot = slot
        return lease.order

    def held(self, slot: Slot, number: int | None) -> Lease | None:
        """Return the lease of a trial, if the slot is the one that trains it now."""
        lease = self.by_number.get(number) if number is not None else None
        return lease if lease is not None and lease.slot == slot else None

    def began(self, slot: Slot, number: int, nodes: set[str]) -> None:
        """Note that a slot has made its first step, and where."""
        if (lease := self.held(slot, number)) is None:
            return
        lease.nodes += tuple(sorted(nodes))
        if lease.startup_s is None:
            lease.startup_s = time.time() - lease.submitted

    async def report(self, slot: Slot, number: int, history: tuple[EpochDict, ...]) -> bool:
        """Take the epochs so far; wait whether to continue. After the last, there is no wait."""
        if (lease := self.held(slot, number)) is None:
            return False
        if len(history) > len(lease.history):
            await lease.change(history=history, losses=0)
        if len(history) >= lease.order.config["epochs"]:
            return False
        async with lease.changed:
            await lease.changed.wait_for(
                lambda: lease.approved >= len(history) or lease.cancelled or lease.slot != slot
            )
        return not lease.cancelled and lease.slot == slot

    async def requeue(
        self,
        slot: Slot,
        number: int | None,
        died: str | None = None,
        short: str | None = None,
        lost: str | None = None,
    ) -> None:
        """Put a slot's trial at the head of the queue; give up one that always kills its worker.

        Args:
            slot: that trained it.
            number: of the trial.
            died: why the slot's worker died, if it did.
            short: how much memory there is, in words, if that is what it lacked; it is then trained
                once more with nothing beside it before it is given up.
            lost: why the slot's worker was lost by no fault of the trial, if so. It is given up all
                the same if that happens again and again: it may hold what its process needs to
                show that it lives.
        """
        lease = self.held(slot, number)
        if lease is None or lease.error:
            return
        await lease.change(slot=None)
        if short is not None:
            if lease.alone:
                await lease.change(error=_out_of_memory(lease.order, short, died))
            lease.alone = True
        elif lost is not None:
            lease.losses += 1
            if lease.losses >= MAX_LOSSES:
                how_often = f"its worker was lost {lease.losses} times in a row"
                await lease.change(error=f"{how_often}; the last time: {lost}")
        elif died is not None:
            lease.deaths += 1
            if lease.deaths >= self.max_worker_deaths:
                how_often = f"its worker died {lease.deaths} times while training it"
                await lease.change(error=f"{how_often}; the last time: {died}")
        if not lease.error and lease.order.number in self.by_number:
            self.pending.appendleft(lease.order.number)

    async def withdraw(self, number: int) -> None:
        """End a trial, done or not: its slot is free at its next report."""
        self.withdrawn.add(number)
        lease = self.by_number.pop(number, None)
        if lease is None:
            return
        if number in self.pending:
            self.pending.remove(number)
        await lease.change(cancelled=True)


def _out_of_memory(order: Order, short: str, died: str | None) -> str:
    config = order.config
    needs = f"{order.what} needs about {gigabytes(order.memory)}; " if order.memory else ""
    recipe = ", ".join(f"{name} {config[name]}" for name in MATTER if name in config)
    return (
        f"{OUT_OF_MEMORY}: {needs}{short}, and nothing else trained there; its recipe has "
        f"{recipe}: lower batch_size, data.image_size or unfrozen_depth, or choose precision bf16 "
        f"(at last: {died})"
    )
