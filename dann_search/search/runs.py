"""Worker groups' runs as the dispatcher knows them: their nodes, busy slots and idle slots."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from dann_search.search.messages import Order, RunHealth, Slot

ON_TIME_S = 10.0
"""Whoever looks for silent workers looks at least this often, unless it was stopped itself."""


@dataclass
class Member:
    """A worker that has taken its seat: what ends it, and when it was last heard of."""

    actor: Any
    heard: float


@dataclass
class Run:
    """One run of a worker group.

    Attributes:
        nodes: that its workers are on.
        training: number of the trial in each busy slot.
        memory: bytes of the trial that a slot trains, or trained last.
        taken: trials handed to it so far.
        suspects: trials in which its workers died since its last epoch.
        starts_failed: deaths of workers that trained nothing since its last epoch.
        excused: slots whose workers leave for a reason that the dispatcher knows already.
        members: its workers, by slot and rank.
        stalled: why workers were ended by their watchdogs, by slot.
        over: whether it gets no more trials, and its workers return.
        error: why it can train nothing, if so.
        has_trained: whether its workers have made an epoch.
        is_paused: whether its trials are to stop at their next step.
        woken: set when that changes, or those who wait for it are replaced.
        idle_since: when its last slot became idle; None while one trains.
    """

    nodes: set[str] = field(default_factory=set)
    training: dict[int, int] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    taken: int = 0
    suspects: set[int] = field(default_factory=set)
    starts_failed: int = 0
    excused: set[int] = field(default_factory=set)
    members: dict[tuple[int, int], Member] = field(default_factory=dict)
    stalled: dict[int, str] = field(default_factory=dict)
    over: bool = False
    error: str | None = None
    has_trained: bool = False
    is_paused: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    idle_since: float | None = None

    @property
    def health(self) -> RunHealth:
        """What the fleet is told."""
        return RunHealth(
            idle_s=0.0 if self.idle_since is None else time.monotonic() - self.idle_since,
            failures=len(self.suspects) + self.starts_failed,
            error=self.error,
            over=self.over,
            has_trained=self.has_trained,
        )

    def made_an_epoch(self) -> None:
        """Forget earlier deaths: its workers can train."""
        self.has_trained = True
        self.suspects.clear()
        self.starts_failed = 0

    def pause(self) -> None:
        """Have its trials stop at their next step."""
        self.is_paused = True
        self.woken.set()

    async def until_paused(self) -> bool:
        """Wait until its trials are to stop; False once the worker that asks is no more."""
        if not self.is_paused:
            await self.woken.wait()
        return self.is_paused

    def let_go(self) -> None:
        """Answer workers that are no more: Ray keeps a descriptor for each call that waits."""
        self.woken.set()
        self.woken = asyncio.Event()

    def blame(self, slots: dict[int, str], crowded: Collection[int] = ()) -> dict[int, str]:
        """Note deaths of workers (why, by slot) and return those that count against a trial.

        Those in ``crowded`` had too little memory beside others: they do not speak against the run.
        """
        known = self.stalled
        slots = {s: known.get(s, why) for s, why in slots.items() if s not in self.excused}
        self.excused.clear()
        # All of its workers start again.
        self.stalled.clear()
        self.members.clear()
        self.let_go()
        counted = slots.keys() - set(crowded)
        suspects = [trial for slot, trial in self.training.items() if slot in counted]
        self.suspects.update(suspects)
        self.starts_failed += bool(counted) and not suspects
        return slots


class Runs:
    """All runs by name, and the slots that wait for a trial."""

    def __init__(self, trials_per_group: int):
        self.trials_per_group = trials_per_group
        self.by_name: dict[str, Run] = defaultdict(Run)
        self.idle: dict[Slot, asyncio.Future[Order | None]] = {}
        """The longest waiting first."""
        self._looked = time.monotonic()

    def silent(self, limit_s: float) -> dict[str, set[int]]:
        """Return the slots, by run, of workers not heard of for longer than ``limit_s``."""
        now = time.monotonic()
        late, self._looked = max(0.0, now - self._looked - ON_TIME_S), now
        found: dict[str, set[int]] = defaultdict(set)
        for name, run in self.by_name.items():
            for (slot, _), member in run.members.items():
                # What was sent while this process was stopped has yet to be read.
                member.heard = min(now, member.heard + late)
                if now - member.heard > limit_s:
                    found[name].add(slot)
        return found

    async def wait(self, slot: Slot) -> Order | None:
        """Wait until a trial is handed to the slot; None where its run is over."""
        run = self.by_name[slot[0]]
        if not run.training:
            run.idle_since = run.idle_since or time.monotonic()
        self.idle[slot] = asyncio.get_running_loop().create_future()
        return await self.idle[slot]

    def hand_out(self, slot: Slot, order: Order) -> Order:
        """Note that the slot trains from now on."""
        run = self.by_name[slot[0]]
        run.training[slot[1]] = order.number
        run.memory[slot[1]] = order.memory
        run.taken += 1
        run.idle_since = None
        if self.is_worn(run):
            self.dismiss_idle(slot[0])
        return order

    def is_worn(self, run: Run) -> bool:
        """Whether a run has trained its number of trials, so that a fresh one takes its place."""
        return run.taken >= self.trials_per_group

    def dismiss(self, slot: Slot) -> None:
        """Let an idle slot's worker return."""
        waiting = self.idle.pop(slot, None)
        if waiting and not waiting.done():
            waiting.set_result(None)

    def dismiss_idle(self, name: str) -> None:
        """Let the workers of all idle slots of a run return."""
        for slot in [slot for slot in self.idle if slot[0] == name]:
            self.dismiss(slot)

    def end(self, name: str) -> None:
        """Give a run no more trials; it ends with those it trains."""
        self.by_name[name].over = True
        self.dismiss_idle(name)
