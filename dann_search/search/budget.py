"""What a search may spend, and what it has spent; both are kept in the study."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from dann_search.config.experiment import BudgetConfig
from dann_search.config.trial import TrialConfig
from dann_search.search.study import StudyRecord
from dann_search.tracking.observer import Observer

SPENT, GRANTED, STOPPED_BY = "spent", "granted", "stopped_by"
HOURS = {"time": "hours", "cpu_hours": "cpu_hours", "gpu_hours": "gpu_hours"}
"""Reasons to stop, and the key of the budget each one is of."""
REASONS = (*HOURS, "no_improvement", "target")


class Budget(Observer):
    """Watches a search and says when it has spent what it may.

    Hours are of the clock; CPU- and GPU-hours those of running trials, times what each reserves.
    After a crash a search goes on with what it has left; one that had stopped by itself, or that is
    given more trials, gets the whole budget anew.
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
        """Of the clock, and of one running trial."""
        attributes = record.study.user_attrs
        self.spent: dict[str, float] = attributes.get(SPENT, dict.fromkeys(self.rates, 0.0))
        ended = record.ended()
        by_itself = attributes.get(STOPPED_BY) in (*REASONS, "trials")
        if anew or by_itself or GRANTED not in attributes:
            record.study.set_user_attr(GRANTED, {**self.spent, "trials": len(ended)})
            record.study.set_user_attr(STOPPED_BY, None)
        self.granted: dict[str, float] = record.study.user_attrs[GRANTED]
        self.running: set[int] = set()
        self.best, self.since, self.reached_target = -math.inf, 0, False
        for score in ended:
            self._count(score)
        self.since = min(self.since, len(ended) - int(self.granted["trials"]))
        self.now = clock()

    def trial_started(self, number: int, config: TrialConfig, known: Sequence[float]) -> None:
        """Its hours begin to count."""
        self._tick()
        self.running.add(number)

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        """Its hours end; it may be better than all before."""
        self._tick()
        self.running.discard(number)
        if state == "interrupted":
            return
        score = self.record.score(number)
        self._count(score)
        target = self.limits.target
        if state == "completed" and target is not None and score >= target:
            self.reached_target = True
        self.record.study.set_user_attr(SPENT, self.spent)

    def _count(self, score: float) -> None:
        better = score > self.best
        self.best = max(self.best, score)
        self.since = 0 if better else self.since + 1

    def _tick(self) -> None:
        before, self.now = self.now, self.clock()
        hours = (self.now - before) / 3600
        self.spent["hours"] += hours
        for name in ("cpu_hours", "gpu_hours"):
            self.spent[name] += hours * len(self.running) * self.rates[name]

    def reached(self) -> str | None:
        """Which limit the search has come to, if any."""
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
        """Keep in the study what was spent, and why the search stopped."""
        self._tick()
        self.record.study.set_user_attr(SPENT, self.spent)
        self.record.study.set_user_attr(STOPPED_BY, reason)


def in_words(reason: str, limits: BudgetConfig) -> str:
    """A reason to stop as people read it."""
    values: dict[str, Any] = {
        "time": f"its {limits.hours} hours are spent",
        "cpu_hours": f"its {limits.cpu_hours} CPU-hours are spent",
        "gpu_hours": f"its {limits.gpu_hours} GPU-hours are spent",
        "no_improvement": f"{limits.no_improvement} trials brought nothing better",
        "target": f"a trial reached {limits.target}",
        "interrupt": "interrupted",
    }
    return str(values.get(reason, reason))
