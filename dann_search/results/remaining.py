"""How long a search will still take: from its own pace, and from what pruning has done so far."""

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from dann_search.results.rows import TrialRow
from dann_search.results.status import Snapshot

EXPECTED = 8
"""Trials that what is known of the pruner counts for at first; none once half of them are over.

Samplers learn and scores tie, so that a pruner stops fewer trials than it would of a random order.
"""
FEWEST = 2
"""Trials that must be over before anything is promised."""


class Pace:
    """The speed of a search since it first reported, by backbone: their epochs differ in length.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.seen: tuple[float, dict[int, int]] | None = None
        """When the search was last looked at, and the epochs of its trials then."""
        self.busy: defaultdict[str, float] = defaultdict(float)
        """Seconds that trials of each backbone were running."""
        self.epochs: Counter[str] = Counter()
        self.slots = 1

    def left_s(self, snapshot: Snapshot) -> float | None:
        """Estimate the seconds that the search will still take; None while unknown."""
        from dann_search.study.pruning import stop_shares  # imports optuna

        if snapshot.reported is None:  # Ray starts
            return None
        self._look(snapshot)
        over = [row for row in snapshot.ended if row.confirms is None]
        if not snapshot.status.searching or len(over) < FEWEST or not sum(self.epochs.values()):
            return None
        status, running = snapshot.status, snapshot.running
        stopped = stop_shares(snapshot.scheduler, status.epochs)
        weight = EXPECTED * max(0.0, 1 - 2 * status.finished / max(1, status.total))
        going_on = survival(snapshot.rows, status.epochs, stopped, weight)
        waiting = max(0, status.total - status.finished - status.running)
        seconds = [
            self._epoch_s(row) * epochs_left(row, going_on, status.epochs) for row in running
        ]
        rows = [row for row in snapshot.rows if row.confirms is None]
        each = sum(map(self._epoch_s, rows)) / len(rows)
        seconds += [each * sum(going_on)] * waiting
        # Trainings that confirm finalists and have not begun.
        confirming = snapshot.to_confirm - (len(snapshot.rows) - len(rows))
        seconds += [each * status.epochs] * max(0, confirming)
        return _makespan(seconds, self.slots)

    def _look(self, snapshot: Snapshot) -> None:
        now, epochs = self.clock(), {row.number: row.epochs for row in snapshot.rows}
        self.slots = max(self.slots, len(snapshot.running))
        if self.seen is not None:
            then, before = self.seen
            gained = {row.number: row.epochs - before.get(row.number, 0) for row in snapshot.rows}
            active = [row for row in snapshot.rows if row.state == "running" or gained[row.number]]
            # A trial may have begun and ended since: together they had no more than the slots.
            share = min(1.0, self.slots / max(1, len(active)))
            for row in active:
                self.busy[_backbone(row)] += share * (now - then)
                self.epochs[_backbone(row)] += gained[row.number]
        self.seen = now, epochs

    def _epoch_s(self, row: TrialRow) -> float:
        """Return the seconds of an epoch of a trial; of all backbones where its own is unknown."""
        own = _backbone(row)
        if self.epochs[own]:
            return self.busy[own] / self.epochs[own]
        return sum(self.busy.values()) / sum(self.epochs.values())


def _backbone(row: TrialRow) -> str:
    return str(row.config.get("backbone", ""))


def survival(
    rows: Sequence[TrialRow],
    epochs: int,
    stopped: Mapping[int, float],
    weight: float = EXPECTED,
) -> list[float]:
    """Return for each epoch, from the first, the share of trials that train it.

    As Kaplan and Meier (1958) do: running trials count as far as they have come. The mean of those
    that are over would not do, because trials that are stopped early are over first.

    Args:
        rows: the trials.
        epochs: of a whole trial.
        stopped: the share that a pruner stops after an epoch: the first trials are stopped less
            often than those after them.
        weight: of how many trials that is to be taken as seen.
    """
    tried = [row for row in rows if row.confirms is None]
    ended = Counter(row.epochs for row in tried if row.state != "running" and row.epochs < epochs)
    share, shares = 1.0, []
    for done in range(epochs):
        there = sum(row.epochs >= done for row in tried)
        known = weight if done in stopped else 0.0
        if done and there + known:
            share *= 1 - (ended[done] + known * stopped.get(done, 0.0)) / (there + known)
        shares.append(share)
    return shares


def epochs_left(row: TrialRow, shares: Sequence[float], epochs: int) -> float:
    """Return the epochs that a running trial will still have, on average."""
    if row.confirms is not None:
        return epochs - row.epochs  # never stopped early
    left = shares[row.epochs :]
    return sum(left) / left[0] if left and left[0] else float(len(left))


def _makespan(seconds: Sequence[float], slots: int) -> float:
    """Return when the last of some jobs ends, if each begins as soon as a slot is free."""
    free = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)
