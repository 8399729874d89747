"""Hands trials to idle slots and carries epoch results back: one asynchronous actor, without torch.

Only the driver ends a trial: a process that follows one holds nothing, and may die at any time.
"""

import time
from collections.abc import Collection
from typing import Any

import ray

from dann_search.search.leases import Leases
from dann_search.search.messages import EpochDict, EpochUpdate, Health, Order, Slot
from dann_search.search.resources import gigabytes
from dann_search.search.room import Room
from dann_search.search.runs import Member, Runs
from dann_search.search.watchdog import stalled_for

SILENT_S = 4.0
"""Silence after which a search that ends no longer waits for a worker."""


class DispatcherState:
    """Dispatcher logic, independent of Ray. Its methods are the protocol.

    Args:
        max_worker_deaths: of one trial, after which it is given up.
        trials_per_group: trials of a run, after which a fresh run takes its place.
    """

    def __init__(self, max_worker_deaths: int, trials_per_group: int):
        self.leases, self.runs = Leases(max_worker_deaths), Runs(trials_per_group)
        self.room = Room(self.leases, self.runs)
        self.oom_kills: dict[str, int] = {}
        """Processes that a node's kernel had killed for memory when last looked at."""
        self.packing: dict[str, tuple[int, int]] = {}
        self.drained: set[str] = set()
        """Nodes that will vanish."""
        self.unfit: set[str] = set()
        """Nodes that lack something."""
        self.troubles: dict[Slot, str] = {}
        """What slots wait for, which is no trial's fault."""
        self.closed = False

    # Called by light trials.

    async def submit(self, order: Order) -> None:
        """Queue a trial, unless it is here already or has ended."""
        if not self.closed:
            self.leases.submit(order)
            self._match()

    async def epochs_after(self, number: int, seen: int) -> EpochUpdate:
        """Wait for more than ``seen`` epochs or an error; training may continue past those seen."""
        return await self.leases.epochs_after(number, seen)

    # Called by the workers of a slot.

    async def enter(self, run: str, node: str, oom_kills: int = 0) -> bool:
        """Note that a worker of a run has started; return whether the run may train."""
        self.runs.by_name[run].nodes.add(node)
        self.oom_kills[node] = oom_kills
        if node in self.drained:  # told so while the run was starting
            self.runs.end(run)
        return not (self.closed or self.runs.by_name[run].over)

    async def seated(self, slot: Slot, rank: int, actor: Any) -> None:
        """Note that a worker has its seat; from now on it is missed when it is silent."""
        members = self.runs.by_name[slot[0]].members
        members[slot[1], rank] = Member(actor, time.monotonic())

    async def alive(self, slot: Slot, rank: int) -> None:
        """Note a sign of life of a worker's process."""
        if member := self.runs.by_name[slot[0]].members.get((slot[1], rank)):
            member.heard = time.monotonic()

    async def left(self, slot: Slot, rank: int) -> None:
        """Note that a worker has no more to do; it is silent from now on."""
        run = self.runs.by_name[slot[0]]
        run.members.pop((slot[1], rank), None)
        if not run.members:
            run.let_go()

    async def stalled(self, slot: Slot, why: str, of_storage: bool) -> None:
        """Note why a worker's watchdog ends it now; Ray does not know."""
        if of_storage:
            await self._give_back(slot, why)
        else:
            self.runs.by_name[slot[0]].stalled[slot[1]] = why

    async def until_paused(self, run: str) -> bool:
        """Wait until the run's trials are to stop at their next step; False: its worker is gone."""
        return await self.runs.by_name[run].until_paused()

    async def cannot_train(self, run: str, node: str, error: str) -> None:
        """End a run on a node that lacks something no restart brings: its data, its disk."""
        self.runs.by_name[run].error = error
        self.unfit.add(node)
        self.runs.end(run)

    async def packed(self, host: str, done: int, of: int) -> None:
        """Note how far a node is with its images."""
        self.packing[host] = (done, of)

    async def trouble(self, slot: Slot, line: str | None) -> None:
        """Note what a slot waits for; None: it waits no more."""
        self.troubles.pop(slot, None)
        if line is not None:
            self.troubles[slot] = line

    async def wants(self, slot: Slot, number: int) -> bool:
        """Return whether a slot that waits is to continue with its trial."""
        return not self.closed and self.leases.held(slot, number) is not None

    async def next_trial(self, slot: Slot) -> Order | None:
        """Wait for a trial. None: the run has no more to do, its workers return."""
        await self._requeue(slot)  # It came back without finishing: its worker was restarted.
        run = self.runs.by_name[slot[0]]
        if not run.over:  # else it is over because of that trouble, perhaps
            self.troubles.pop(slot, None)
        run.excused.discard(slot[1])
        self.runs.dismiss(slot)  # An old call of a worker that has died must take no trial with it.
        if self.closed or run.over or self.runs.is_worn(run):
            return None
        if (number := self.room.next_for(slot)) is not None:
            return self.runs.hand_out(slot, self.leases.take(number, slot))
        return await self.runs.wait(slot)

    async def began(self, slot: Slot, number: int) -> None:
        """Note that network and data are ready, and training starts now."""
        self.leases.began(slot, number, self.runs.by_name[slot[0]].nodes)

    async def report(self, slot: Slot, number: int, history: tuple[EpochDict, ...]) -> bool:
        """Take the epochs so far; wait whether to continue. After the last, there is no wait."""
        self.runs.by_name[slot[0]].made_an_epoch()
        return await self.leases.report(slot, number, history)

    async def paused(self, slot: Slot) -> None:
        """Queue the slot's trial again: it stopped at a step, saved, and continues elsewhere."""
        await self._requeue(slot)

    async def finished(self, slot: Slot, number: int, error: str | None = None) -> None:
        """Free the slot; with an error, the trial has failed by its own fault."""
        run = self.runs.by_name[slot[0]]
        if run.training.get(slot[1]) == number:
            del run.training[slot[1]]
        if error and (lease := self.leases.held(slot, number)):
            run.excused.add(slot[1])
            await lease.change(error=error)
        self._match()  # another slot's trial may have waited for this one's memory

    async def lacked_memory(self, slot: Slot, number: int, error: str) -> None:
        """Free the slot of a trial for which memory did not suffice, beside what else was there."""
        run = self.runs.by_name[slot[0]]
        if run.training.get(slot[1]) == number:
            run.excused.add(slot[1])
            short = "its GPU has less" if "CUDA" in error else self._memory_of(slot)
            await self._requeue(slot, died=error, short=short)

    # Called by the worker group's controller.

    async def workers_died(
        self,
        run: str,
        slots: dict[int, str],
        for_memory: Collection[int] = (),
        oom_kills: int | None = None,
    ) -> None:
        """Queue all trials of a run again whose workers of these slots died (why, by slot).

        No slots: the whole run was lost by nobody's fault, as with its node.

        Args:
            run: the run.
            slots: whose workers died, and why.
            for_memory: those of them that Ray has killed for memory.
            oom_kills: what ``enter`` counts, now. If there are more, the kernel has killed them.
        """
        self.runs.dismiss_idle(run)  # they are gone too: nothing may be handed to them
        self.troubles = {slot: line for slot, line in self.troubles.items() if slot[0] != run}
        lost = self.runs.by_name[run]
        known = {node: self.oom_kills.get(node) for node in lost.nodes}
        if oom_kills is not None and any(k is not None and k < oom_kills for k in known.values()):
            for_memory = slots.keys()
        held = {slot: self.leases.held((run, slot), n) for slot, n in lost.training.items()}
        alone = {slot for slot, lease in held.items() if lease and lease.alone}
        blamed = lost.blame(slots, set(for_memory) - alone)
        for slot in held:
            short = self._memory_of((run, slot)) if slot in for_memory else None
            await self._requeue((run, slot), died=blamed.get(slot), short=short)

    async def is_closed(self) -> bool:
        """Return whether the search is over, so that no worker need be started again."""
        return self.closed

    async def _give_back(self, slot: Slot, why: str) -> None:
        """Queue the trial of a slot whose worker is lost by no fault of the trial."""
        run = self.runs.by_name[slot[0]]
        run.excused.add(slot[1])
        if (number := run.training.get(slot[1])) is not None:
            run.suspects.add(number)  # it may be the node's
        await self._requeue(slot, lost=why)

    def _memory_of(self, slot: Slot) -> str:
        """How much memory trials have on a slot's node, in words."""
        memory = self.room.memory.get(self.room.node_of(slot))
        return "the node has less" if memory is None else f"the node has {gigabytes(memory)}"

    # Called by the driver.

    async def has_memory(self, node: str, memory: float) -> None:
        """Note how many bytes the trials of a node may take together."""
        self.room.memory[node] = memory

    async def end_silent(self, stall_timeout_s: float) -> list[Any]:
        """Queue the trials of workers that were not heard of for so long; return who is to end.

        Once the search ends, seconds are enough; but as long as another slot of a run saves its
        trial, the run continues.
        """
        limit_s = min(stall_timeout_s, SILENT_S) if self.closed else stall_timeout_s
        ended = []
        for name, slots in self.runs.silent(limit_s).items():
            run = self.runs.by_name[name]
            if self.closed and run.training.keys() - slots:
                continue
            for slot in slots:
                await self._give_back((name, slot), stalled_for(limit_s, "its worker was silent"))
                members = [key for key in run.members if key[0] == slot]
                ended += [run.members.pop(key).actor for key in members]
        return ended

    async def withdraw(self, number: int) -> None:
        """End a trial, done or not: its slot is free at its next report."""
        await self.leases.withdraw(number)
        self._match()  # a node may have been kept for it

    async def drain(self, node: str) -> None:
        """Have trials on a node that will vanish stop at their next step and continue elsewhere."""
        self.drained.add(node)
        for name, run in self.runs.by_name.items():
            if node in run.nodes and not run.over:
                self.runs.end(name)
                run.pause()

    async def retire(self, run: str) -> None:
        """Give a run no more trials; it ends with those it trains."""
        self.runs.end(run)

    async def close(self, pause: bool = False) -> None:
        """Let idle slots return; those training stop at their next report, or their next step."""
        self.closed = True
        for run in self.runs.by_name.values():
            if pause:
                run.pause()
        for number in list(self.leases.by_number):
            await self.withdraw(number)
        for slot in list(self.runs.idle):
            self.runs.dismiss(slot)

    async def health(self) -> Health:
        """Return what the fleet needs to know."""
        taken = {n: lease for n, lease in self.leases.by_number.items() if lease.slot is not None}
        return Health(
            pending=len(self.leases.pending),
            runs={name: run.health for name, run in self.runs.by_name.items()},
            packing=dict(self.packing),
            unfit=frozenset(self.unfit),
            troubles=frozenset(self.troubles.values()),
            taken=frozenset(taken),
            begun=frozenset(n for n, lease in taken.items() if lease.startup_s is not None),
        )

    async def _requeue(
        self,
        slot: Slot,
        died: str | None = None,
        short: str | None = None,
        lost: str | None = None,
    ) -> None:
        number = self.runs.by_name[slot[0]].training.pop(slot[1], None)
        await self.leases.requeue(slot, number, died, short, lost)
        self._match()

    def _match(self) -> None:
        """Hand waiting trials to idle slots, the longest idle first."""
        if self.closed:
            return
        for slot in list(self.runs.idle):
            waiting = self.runs.idle.get(slot)
            if waiting is None:
                continue  # a run that is worn has dismissed its idle slots meanwhile
            if waiting.done():
                del self.runs.idle[slot]
            elif (number := self.room.next_for(slot)) is not None:
                del self.runs.idle[slot]
                waiting.set_result(self.runs.hand_out(slot, self.leases.take(number, slot)))


Dispatcher = ray.remote(num_cpus=0, max_concurrency=100_000)(DispatcherState)
"""The actor: ``Dispatcher.remote(max_worker_deaths, trials_per_group)``."""
