"""Recorded searches, to be looked at as they stood at any time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dann_search.results.remaining import Pace
from dann_search.results.status import Snapshot
from tests.results.snapshots import row, snapshot_with

RECORDED = Path(__file__).parent / "recorded_searches"
"""When each trial began, ended its epochs, and how it ended.

Two are searches of digits on two slots of a machine with other work beside them. In the three
others trials are rows of ``benchmarks/digits_table.csv`` in a random order on four slots, and the
pruners themselves stop them.
"""
EVERY_S = 5.0


@dataclass
class Moment:
    """What was promised at one time of a search."""

    share: float
    left: float
    promised: float | None


def moments(recorded: dict[str, Any]) -> Iterator[Moment]:
    """Follow a search from its first epoch to its end, as a view does."""
    trials = recorded["trials"]
    begin = min(one["ends"][0] for one in trials)
    end = max(one["ends"][-1] for one in trials)
    now = 0.0
    pace = Pace(lambda: now)
    while now < end:
        promised = pace.left_s(snapshot_at(recorded, now))
        yield Moment((now - begin) / (end - begin), end - now, promised)
        now += EVERY_S


def snapshot_at(recorded: dict[str, Any], now: float) -> Snapshot:
    """Return the search as it stood."""
    rows = []
    for one in (one for one in recorded["trials"] if one["start"] <= now):
        over = one["ends"][-1] <= now
        epochs = sum(end <= now for end in one["ends"])
        trial = row(one["number"], one["state"] if over else "running", epochs, 0.5)
        config = {"backbone": one["backbone"]}
        rows.append(replace(trial, confirms=one["confirms"], config=config))
    own = [trial for trial in rows if trial.confirms is None]
    count = {state: sum(trial.state == state for trial in own) for state in ("completed", "pruned")}
    status = snapshot_with().status.model_copy(
        update={
            **count,
            "running": len(own) - sum(count.values()),
            "total": recorded["total"],
            "epochs": recorded["epochs"],
        }
    )
    top, seeds = recorded["confirm"] or (0, 0)
    reported = None if not any(trial.epochs for trial in rows) else now
    return Snapshot(status, rows, reported, scheduler=recorded["scheduler"], to_confirm=top * seeds)
