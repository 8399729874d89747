"""The budget of a search: what it may spend and what it has spent, both kept in the study."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from dann_search.config.experiment import BudgetConfig
from dann_search.config.trial import TrialConfig
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import SPENT, STOPPED_BY
from dann_search.tracking.observer import Observer

GRANTED = "granted"
HOURS = {"time": "hours", "cpu_hours": "cpu_hours", "gpu_hours": "gpu_hours"}
"""Reasons to stop, and the key of the budget each one is of."""
REASONS = (*HOURS, "no_improvement", "target")
THEN_CONFIRM = ("no_improvement", "target")
"""Reasons that leave something to spend on the finalists."""
SAVE_S = 15.0
"""Seconds between two writes of what was spent, at least."""


class Budget(Observer):
    """Observes a search and tells when its budget is spent.

    Hours are of the clock; CPU- and GPU-hours are those of running trials, times what each
    reserves. After a crash a search continues with what is left. A search that had stopped by
    itself, or that is given more trials, gets the whole budget anew.
    """

    def __init__(
        self,
        limits: BudgetConfig,
        record: StudyRecord,
        *,
        cpus: float = 0.0,
        gpus: float = 0.0,
        anew: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.limits, self.record, self.clock = limits, record, clock
        self.rates = {"hours": 1.0, "cpu_hours": cpus, "gpu_hours": gpus}
        """Hours that an hour costs: of the clock, and of one running trial."""
        attributes = record.study.user_attrs
        self.spent: dict[str, float] = attributes.get(SPENT, dict.fromkeys(self.rates, 0.0))
        ended = record.tally.ended()
        by_itself = attributes.get(STOPPED_BY) in (*REASONS, "trials")
        if anew or by_itself or GRANTED not in attributes:
            record.study.set_user_attr(GRANTED, {**self.spent, "trials": len(ended)})
            record.study.set_user_attr(STOPPED_BY, None)
        self.granted: dict[str, float] = record.study.user_attrs[GRANTED]
        self.running: set[int] = set()
        granted = int(self.granted["trials"])
        self.best, self.since, self.reached_target = -math.inf, 0, False
        for value in ended[:granted]:
            self._count(value)
        self.since, self.reached_target = 0, False  # what was granted anew begins after them
        for value in ended[granted:]:
            self._count(value)
        self.now = self.saved = clock()

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Begin to count its hours."""
        self._tick()
        self.running.add(number)

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        """Keep what was spent: a crash gives nothing back."""
        self._tick()

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Stop counting its hours; note whether it is better than all before, or good enough."""
        self._tick()
        self.running.discard(number)
        if state == "interrupted":
            return
        value = self.record.value(number)
        self._save()
        # At last, as all of this is done again where the study cannot be written. One that
        # confirms a finalist is no trial of the search.
        if value is not None:
            self._count(value)

    def _count(self, value: float) -> None:
        better = value > self.best
        self.best = max(self.best, value)
        self.since = 0 if better else self.since + 1
        target = self.limits.target
        self.reached_target |= target is not None and value >= target

    def _tick(self) -> None:
        before, self.now = self.now, self.clock()
        hours = (self.now - before) / 3600
        self.spent["hours"] += hours
        for name in ("cpu_hours", "gpu_hours"):
            self.spent[name] += hours * len(self.running) * self.rates[name]
        if self.now - self.saved >= SAVE_S:
            self._save()

    def _save(self) -> None:
        self.saved = self.now
        self.record.study.set_user_attr(SPENT, self.spent)

    def reached(self) -> str | None:
        """Return which limit the search has reached, if any."""
        self._tick()
        for reason, name in HOURS.items():
            limit = getattr(self.limits, name)
            if limit is not None and self.spent[name] - self.granted[name] >= limit:
                return reason
        if self.reached_target:
            return "target"
        patience = self.limits.no_improvement
        return "no_improvement" if patience is not None and self.since >= patience else None

    def ended(self, reason: str) -> None:
        """Write into the study what was spent, and why the search stopped."""
        self._tick()
        self._save()
        self.record.study.set_user_attr(STOPPED_BY, reason)
