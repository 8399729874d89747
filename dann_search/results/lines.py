"""A search in plain lines: for logs, pipes and notebooks, and in the words of the live table."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from dann_search.errors import counted
from dann_search.outputs.space import Estimate
from dann_search.outputs.trials import Status
from dann_search.results.remaining import Pace
from dann_search.results.rows import TrialRow
from dann_search.results.status import BY_ITSELF, Snapshot
from dann_search.training.result import F1_MACRO

SHOWN_ENDED = 8
"""Trials that are over in a view of one search, the newest last."""
KNOWN_BY_VALUE = ("method", "backbone")
"""Parameters whose values say what they are."""
HEADLINE_EVERY_S = 60.0
"""Seconds between two headlines that differ in the number of epochs alone."""
GAP = "   "
"""Between the parts of a headline."""


class SearchView:
    """Base class of what shows searches each time they have been read."""

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Show the searches as they now are."""

    def notice(self, line: str) -> None:
        """Show a message about the search: a node joined, left or failed."""
        print(line)

    def close(self) -> None:
        """End the view; what it printed stays."""


class LinesView(SearchView):
    """Prints trials that end, and a headline whenever the state of the search changes.

    Args:
        file: where lines are written.
        one: whether there is one search alone, whose name needs no mention.
    """

    def __init__(self, file: TextIO, one: bool = True):
        self.file, self.one = file, one
        self.paces: dict[str, Pace] = {}
        self.printed: dict[str, set[int]] = {}
        """Trials that were over at the last snapshot, by experiment."""
        self.headlines: dict[str, tuple[float, str, int, str]] = {}
        """Time, state, epochs and stage of the last headline, by experiment."""

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Print what is new."""
        for one in snapshots:
            self._show(one)

    def _show(self, snapshot: Snapshot) -> None:
        name = snapshot.status.name
        left = time_left(self.paces.setdefault(name, Pace()), snapshot)
        before = self.printed.get(name)
        self.printed[name] = {row.number for row in snapshot.ended}
        for row in snapshot.ended:
            if before is not None and row.number not in before:
                for line in trial_lines(snapshot, row, left):
                    self._print(name, line)
        now, state, epochs = time.monotonic(), state_in_words(snapshot.status), _epochs(snapshot)
        if name in self.headlines:
            then, old_state, old_epochs, old_stage = self.headlines[name]
            is_same = state == old_state and snapshot.stage in ("", old_stage)
            if is_same and (epochs == old_epochs or now - then < HEADLINE_EVERY_S):
                return
        self.headlines[name] = (now, state, epochs, snapshot.stage)
        self._print(name, headline(snapshot, left))

    def notice(self, line: str) -> None:
        """Print the message with the time."""
        print(f"[{_clock(time.time())}] {line}", file=self.file, flush=True)

    def _print(self, name: str, line: str) -> None:
        print(line if self.one else f"{name}: {line}", file=self.file, flush=True)


def _epochs(snapshot: Snapshot) -> int:
    return sum(row.epochs for row in snapshot.rows)


def time_left(pace: Pace, snapshot: Snapshot) -> str:
    """Say how long a search will still take; empty while that is not known."""
    seconds = pace.left_s(snapshot)
    return f"about {duration(seconds)} left" if seconds else ""


def headline(snapshot: Snapshot, left: str = "") -> str:
    """Say how far a search is in one line; ``left`` says how long it will still take."""
    status, parts = snapshot.status, []
    parts.append(f"{status.finished}/{status.total} trials done, {len(snapshot.running)} running")
    parts += [best] if (best := _best_so_far(snapshot)) else []
    if snapshot.begun is None:
        parts.append(state_in_words(status))
    else:  # this process searches, and its user knows
        parts += [snapshot.stage] if snapshot.stage else []
        parts.append(f"elapsed {duration(time.time() - snapshot.begun)}")
    awaited = snapshot.running or snapshot.begun is None
    if status.searching and awaited and snapshot.reported is not None:
        parts.append(f"last report {duration(max(0.0, time.time() - snapshot.reported))} ago")
    return GAP.join([*parts, left] if left else parts)


def _best_so_far(snapshot: Snapshot) -> str:
    """Name the best trial by the rule of the leaderboard: the best that was completed.

    Its score never falls. Before one is completed, the highest score until then has another name.
    """
    status, best = snapshot.status, snapshot.status.best
    if best and status.completed:
        return f"best {label(status)} {best.score:.3f} (trial {best.trial})"
    scores = [
        (row.score, -row.number)
        for row in snapshot.rows
        if row.score is not None and row.confirms is None
    ]
    if not scores:
        return ""
    score, number = max(scores)
    return f"none completed, highest {label(status)} {score:.3f} (trial {-number})"


def trial_lines(snapshot: Snapshot, row: TrialRow, left: str = "") -> tuple[str, ...]:
    """Describe a trial that ended: how, and its error or its recipe."""
    status = snapshot.status
    score = "" if row.score is None else f", best {label(status)} {row.score:.3f}"
    why = row.error or recipe_of(row)  # nothing where nothing is searched
    return (
        f"[{_clock(row.ended)}] trial {row.number} {row.state} after {row.epochs} of "
        f"{status.epochs} epochs{score} ({status.finished}/{status.total} done"
        f"{left and ', '}{left})",
        *([f"    {why}"] if why else []),
    )


def shown_trials(snapshot: Snapshot) -> list[tuple[str, str, str, str, str]]:
    """Return the trials at work and those that ended last: number, state, epochs, score, recipe.

    Of the recipe only what differs between the trials of the search.
    """
    status, same = snapshot.status, alike([row.params for row in snapshot.rows])
    return [
        (
            str(row.number),
            "unfinished" if row.state == "running" and not status.searching else row.state,
            f"{row.epochs}/{status.epochs}",
            "" if row.score is None else f"{row.score:.3f}",
            _in_brief(row, same),
        )
        for row in [*snapshot.ended[-SHOWN_ENDED:], *snapshot.running]
    ]


def recipe_of(row: TrialRow) -> str:
    """Return a trial's searched parameters on one line."""
    return ("new seed: " if row.confirms is not None else "") + describe(row.params)


def _in_brief(row: TrialRow, same: Mapping[str, Any]) -> str:
    """Return what differs of a trial's parameters: methods and backbones need no name."""
    own = {name: value for name, value in row.params.items() if name not in same}
    known = [short(own.pop(name)) for name in KNOWN_BY_VALUE if name in own]
    return "  ".join([*(["new seed"] if row.confirms is not None else []), *known, describe(own)])


def alike(recipes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters that several recipes have, all with the same value."""
    first = recipes[0] if len(recipes) > 1 else {}
    return {
        name: value
        for name, value in first.items()
        if all(one.get(name) == value for one in recipes)
    }


def same_in_all(snapshot: Snapshot) -> str:
    """Say which searched parameters all trials share; empty where there are none."""
    same = alike([row.params for row in snapshot.rows])
    return f"the same in all: {describe(same)}" if same else ""


def label(status: Status) -> str:
    """Return the name of the objective as people read it."""
    return "F1" if status.objective == F1_MACRO else status.objective


def state_in_words(status: Status) -> str:
    """Return the state, and why a search is done before its last trial, or what it waits for."""
    why = BY_ITSELF.get(status.stopped_by or "") if status.state == "done" else None
    why = why or status.trouble
    return f"{status.state}: {why}" if why else status.state


def summary(found: Estimate) -> str:
    """Say what a search is estimated to take."""
    once = "1 at a time" if found.slots == 1 else f"{found.slots} at a time"
    line = (
        f"estimated to take {_span(found)} here: {counted(found.trials, 'trial')}, {once}, of "
        f"{found.epochs_mean:.1f} epochs on average ({found.epochs} where none is pruned)"
    )
    return "; ".join([line, *found.advice])


def _span(found: Estimate) -> str:
    low, high = found.hours_low, found.hours_high
    if high < 1.5:
        return f"{max(1, round(low * 60))} to {max(2, round(high * 60))} minutes"
    if high < 2 * 24:
        return f"{low:.1f} to {high:.1f} hours"
    return f"{low / 24:.1f} to {high / 24:.1f} days"


def describe(parameters: Mapping[str, Any]) -> str:
    """Return parameters on one line, numbers with at most three significant digits."""
    return "  ".join(f"{name}={short(value)}" for name, value in parameters.items())


def short(value: Any) -> str:
    """Return a value with at most three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Return seconds as ``45s``, ``3m05s`` or ``2h07m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _clock(moment: float | None) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
