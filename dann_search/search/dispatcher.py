"""Hands trials to idle slots and carries epoch results back: one asynchronous actor, without torch.

The protocol is idempotent by epoch. A trial asks for what came after the epochs it has seen, which
lets training go on past them; a slot reports the whole history, which fills any gap. So either
side may die and ask again. Only the driver ends a trial: a process that follows one holds nothing.
"""

import asyncio
import collections
import time
from typing import Any

import ray

from dann_search.search.leases import (
    EpochDict,
    Health,
    Lease,
    News,
    Order,
    Run,
    RunHealth,
    Slot,
)


class DispatcherState:
    """The dispatcher without Ray around it."""

    def __init__(self, max_worker_deaths: int, trials_per_group: int):
        self.max_worker_deaths, self.trials_per_group = max_worker_deaths, trials_per_group
        self.leases: dict[int, Lease] = {}
        self.ended: set[int] = set()
        """Trials that were withdrawn."""
        self.pending: collections.deque[int] = collections.deque()
        self.idle: dict[Slot, asyncio.Future[Order | None]] = {}
        """Slots that wait for a trial, the longest waiting first."""
        self.runs: dict[str, Run] = collections.defaultdict(Run)
        self.packing: dict[str, tuple[int, int]] = {}
        self.drained: set[str] = set()
        """Nodes that will vanish."""
        self.unfit: set[str] = set()
        """Nodes that lack something."""
        self.closed = False
        self.first_slot_ready: float | None = None

    # Called by trials.

    async def submit(self, order: Order) -> None:
        """Queue a trial, unless it is here already or has ended.

        Tune may begin one trial in several processes, after a crash or for nothing, some of them
        only when the trial is over.
        """
        number = order.number
        if number in self.leases or number in self.ended or self.closed:
            return
        self.leases[number] = Lease(order, time.time())
        self.pending.append(number)
        self._match()

    async def news(self, number: int, seen: int) -> News:
        """Wait for more than ``seen`` epochs or an error; training may go on past those seen."""
        lease = self.leases.get(number)
        if lease is None:
            return News((), None, True, None)
        async with lease.changed:
            lease.approved = max(lease.approved, seen)
            lease.changed.notify_all()
            await lease.changed.wait_for(
                lambda: len(lease.history) > seen or lease.error or lease.cancelled
            )
        return News(lease.history, lease.error, lease.cancelled, lease.startup_s, lease.nodes)

    # Called by the workers of a slot.

    async def enter(self, run: str, node: str) -> bool:
        """A worker of a run has started; whether the run may train."""
        self.runs[run].nodes.add(node)
        if node in self.drained:  # told so while the run was starting
            self._end(run)
        return not (self.closed or self.runs[run].over)

    async def until_paused(self, run: str) -> None:
        """Wait until the run's trials are to stop at their next step."""
        await self.runs[run].paused.wait()

    async def cannot_train(self, run: str, node: str, error: str) -> None:
        """A node of the run lacks something that no restart brings: its data, its disk."""
        self.runs[run].error = error
        self.unfit.add(node)
        self._end(run)

    async def packed(self, host: str, done: int, of: int) -> None:
        """How far a node is with its images."""
        self.packing[host] = (done, of)

    async def next_trial(self, slot: Slot) -> Order | None:
        """Wait for a trial. None: the run has no more to do, its workers return."""
        await self._requeue(slot)  # It came back without finishing: its worker was restarted.
        self.runs[slot[0]].excused.discard(slot[1])
        self._dismiss(slot)  # An old call of a worker that has died must take no trial with it.
        self.first_slot_ready = self.first_slot_ready or time.time()
        run = self.runs[slot[0]]
        if self.closed or run.over or self._is_worn(run):
            return None
        if self.pending:
            return self._hand_out(slot)
        if not run.training:
            run.idle_since = run.idle_since or time.monotonic()
        self.idle[slot] = asyncio.get_running_loop().create_future()
        return await self.idle[slot]

    def _match(self) -> None:
        """Hand pending trials to idle slots."""
        while self.pending and self.idle:
            slot = next(iter(self.idle))
            waiting = self.idle.pop(slot)
            if not waiting.done():
                waiting.set_result(self._hand_out(slot))

    def _hand_out(self, slot: Slot) -> Order:
        number = self.pending.popleft()
        run, lease = self.runs[slot[0]], self.leases[number]
        run.training[slot[1]], lease.slot = number, slot
        run.taken += 1
        run.idle_since = None
        if self._is_worn(run):
            self._dismiss_idle(slot[0])
        return lease.order

    def _is_worn(self, run: Run) -> bool:
        """A run that trained its number of trials returns, and a fresh one takes its place."""
        return run.taken >= self.trials_per_group

    def _dismiss(self, slot: Slot) -> None:
        waiting = self.idle.pop(slot, None)
        if waiting and not waiting.done():
            waiting.set_result(None)

    def _dismiss_idle(self, run: str) -> None:
        for slot in [slot for slot in self.idle if slot[0] == run]:
            self._dismiss(slot)

    def _end(self, run: str) -> None:
        self.runs[run].over = True
        self._dismiss_idle(run)

    async def began(self, slot: Slot, number: int) -> None:
        """Network and data are ready; training starts now."""
        lease = self.leases.get(number)
        if lease is None or lease.slot != slot:
            return
        lease.nodes += tuple(sorted(self.runs[slot[0]].nodes))
        if lease.startup_s is None:
            lease.startup_s = time.time() - lease.submitted

    async def report(self, slot: Slot, number: int, history: tuple[EpochDict, ...]) -> bool:
        """Hand in the epochs so far; wait whether to go on. After the last, there is no wait."""
        run = self.runs[slot[0]]
        run.suspects.clear()
        run.starts_failed = 0
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

    async def paused(self, slot: Slot) -> None:
        """The slot's trial stopped at a step, saved: another slot goes on with it."""
        await self._requeue(slot)

    async def finished(self, slot: Slot, number: int, error: str | None = None) -> None:
        """The slot is free again; with an error, the trial has failed by its own fault."""
        run = self.runs[slot[0]]
        if run.training.get(slot[1]) == number:
            del run.training[slot[1]]
        lease = self.leases.get(number)
        if lease and lease.slot == slot and error:
            run.excused.add(slot[1])
            await self._fail(lease, error)

    # Called by the worker group's controller.

    async def workers_died(self, run: str, slots: dict[int, str]) -> None:
        """Workers of these slots died (why, by slot): all trials of the run are queued again.

        No slots: the whole run was lost by nobody's fault, as with its node.
        """
        self._dismiss_idle(run)  # they are gone too: nothing may be handed to them
        lost = self.runs[run]
        slots = {slot: why for slot, why in slots.items() if slot not in lost.excused}
        lost.excused.clear()
        suspects = [trial for slot, trial in lost.training.items() if slot in slots]
        lost.suspects.update(suspects)
        lost.starts_failed += bool(slots) and not suspects
        for slot in list(lost.training):
            await self._requeue((run, slot), died=slots.get(slot))

    async def _requeue(self, slot: Slot, died: str | None = None) -> None:
        """Put a slot's trial at the head of the queue; give up one that always kills its worker."""
        number = self.runs[slot[0]].training.pop(slot[1], None)
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
        if lease.order.number in self.leases:
            self.pending.appendleft(lease.order.number)
            self._match()

    async def _fail(self, lease: Lease, error: str) -> None:
        async with lease.changed:
            lease.error = error
            lease.changed.notify_all()

    # Called by the driver.

    async def withdraw(self, number: int) -> None:
        """End a trial, done or not: its slot is free at its next report."""
        self.ended.add(number)
        lease = self.leases.pop(number, None)
        if lease is None:
            return
        if number in self.pending:
            self.pending.remove(number)
        async with lease.changed:
            lease.cancelled = True
            lease.changed.notify_all()

    async def drain(self, node: str) -> None:
        """The node will vanish: its trials stop at their next step and go on elsewhere."""
        self.drained.add(node)
        for name, run in self.runs.items():
            if node in run.nodes and not run.over:
                self._end(name)
                run.paused.set()

    async def retire(self, run: str) -> None:
        """The run gets no more trials; it ends with those it trains."""
        self._end(run)

    async def close(self, pause: bool = False) -> None:
        """Let idle slots return; those training stop at their next report, or their next step."""
        self.closed = True
        for run in self.runs.values():
            if pause:
                run.paused.set()
        for number in list(self.leases):
            await self.withdraw(number)
        for slot in list(self.idle):
            self._dismiss(slot)

    async def health(self) -> Health:
        """What the fleet needs to know."""
        now = time.monotonic()
        return Health(
            pending=len(self.pending),
            runs={
                name: RunHealth(
                    training=len(run.training),
                    idle_s=0.0 if run.idle_since is None else now - run.idle_since,
                    failures=len(run.suspects) + run.starts_failed,
                    error=run.error,
                    over=run.over,
                )
                for name, run in self.runs.items()
            },
            packing=dict(self.packing),
            unfit=frozenset(self.unfit),
        )

    async def snapshot(self) -> dict[str, Any]:
        """For tests and benchmarks: what is queued, what runs where, when the first slot came."""
        return {
            "pending": list(self.pending),
            "running": {
                (name, slot): number
                for name, run in self.runs.items()
                for slot, number in run.training.items()
            },
            "leases": sorted(self.leases),
            "deaths": {number: lease.deaths for number, lease in self.leases.items()},
            "runs": sorted(self.runs),
            "first_slot_ready": self.first_slot_ready,
        }


Dispatcher = ray.remote(num_cpus=0, max_concurrency=100_000)(DispatcherState)
"""The actor: ``Dispatcher.remote(max_worker_deaths, trials_per_group)``."""
