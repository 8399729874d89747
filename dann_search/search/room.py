"""Which waiting trial goes to an idle slot: the next in the queue that its node has memory for."""

import math

from dann_search.search.leases import Lease, Leases
from dann_search.search.messages import Slot
from dann_search.search.runs import Runs

OVERTAKEN = 4
"""Trials that may go before one that finds no room; then a node is kept until it fits there."""


class Room:
    """The memory of nodes, and what the trials on them take of it.

    A node of which nothing is known has room for any number of trials, unless one must be alone.

    Attributes:
        memory: bytes for trials, by node.
        kept: the trial for which a node takes no others, by node.
    """

    def __init__(self, leases: Leases, runs: Runs):
        self.leases, self.runs = leases, runs
        self.memory: dict[str, float] = {}
        self.kept: dict[str, int] = {}

    def node_of(self, slot: Slot) -> str:
        """Return the node of a slot; its run, where that is on several."""
        nodes = self.runs.by_name[slot[0]].nodes
        return next(iter(nodes)) if len(nodes) == 1 else slot[0]

    def next_for(self, slot: Slot) -> int | None:
        """Return the number of the trial that goes to a slot now; None where none fits."""
        node, waiting = self.node_of(slot), self.leases.pending
        self.kept = {at: number for at, number in self.kept.items() if number in waiting}
        passed: list[Lease] = []
        for number in [self.kept[node]] if node in self.kept else list(waiting):
            lease = self.leases.by_number[number]
            if self._fits(lease, node):
                for one in passed:
                    one.overtaken += 1
                return number
            if self._goes_next(lease):
                self.kept.setdefault(node, number)
                return None
            passed.append(lease)
        return None

    def _goes_next(self, lease: Lease) -> bool:
        """Whether the node at hand is to be kept for a trial; one is enough."""
        waited = lease.alone or lease.overtaken >= OVERTAKEN
        return waited and lease.order.number not in self.kept.values()

    def _fits(self, lease: Lease, node: str) -> bool:
        there = self._training_on(node)
        if not there:
            return True  # there is no better place
        if lease.alone or any(self._is_alone(number) for number in there):
            return False
        return sum(there.values()) + lease.order.memory <= self.memory.get(node, math.inf)

    def _is_alone(self, number: int) -> bool:
        lease = self.leases.by_number.get(number)
        return lease is not None and lease.alone

    def _training_on(self, node: str) -> dict[int, int]:
        """Return the memory of what trains on a node, by trial.

        A trial that was withdrawn has no lease any more, but its memory until its next step.
        """
        return {
            number: run.memory[slot]
            for name, run in self.runs.by_name.items()
            if node in (*run.nodes, name)
            for slot, number in run.training.items()
        }
