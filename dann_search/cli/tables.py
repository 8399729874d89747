"""Searches as people read them: tables and sentences. Only this room draws."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from dann_search.cli.app import WIDE, sentence
from dann_search.errors import counted
from dann_search.outputs import search, trials
from dann_search.outputs.shared import BestTrial
from dann_search.results.choose import field_of
from dann_search.results.lines import (
    GAP,
    alike,
    describe,
    duration,
    headline,
    label,
    same_in_all,
    short,
    shown_trials,
)
from dann_search.results.status import BY_ITSELF, Snapshot
from dann_search.training.result import F1_MACRO

SHOWN = 50
"""Trials of the leaderboard unless --top says otherwise."""
SHOWN_FAILED = 5
"""Failed trials whose error ``status`` shows, the newest last."""
LEADERBOARD_STYLES = {"completed": "", "pruned": "dim", "running": "cyan", "failed": "red"}
NARROW = 56
"""Columns below which the live table has no room for recipes."""
LIVE_STYLES = {"completed": "bold", "running": "cyan", "failed": "red"}


def columns(*names: str, left: int = 1, no_wrap: bool = False) -> Table:
    """Return an empty table whose first columns are aligned left, the others right."""
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(names):
        justify: JustifyMethod = "left" if index < left else "right"
        table.add_column(Text(name), justify=justify, no_wrap=no_wrap)
    return table


@dataclass(frozen=True)
class Live:
    """The live table of one search: trials at work or just ended, one line each.

    Above them stands what is the same in all, below them the headline. The recipe is cut where the
    console is narrow, and left out where nothing of it would be readable.

    Attributes:
        snapshot: the search.
        left: how long it will still take, in words.
    """

    snapshot: Snapshot
    left: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        rows = shown_trials(self.snapshot)
        table = Table(box=None, pad_edge=False, expand=True)
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("epoch", justify="right", no_wrap=True)
        score = f"best {label(self.snapshot.status)}"
        table.add_column(score, justify="right", overflow="ellipsis", no_wrap=True)
        has_recipe = options.max_width >= NARROW
        if has_recipe:
            table.add_column("recipe", overflow="ellipsis", no_wrap=True, ratio=1)
        for *cells, recipe in rows:
            shown: list[RenderableType] = [*cells, *([Text(recipe)] if has_recipe else [])]
            table.add_row(*shown, style=LIVE_STYLES.get(cells[1], "dim"))
        if has_recipe and (same := same_in_all(self.snapshot)):
            yield Text(same, style="dim")
        if rows:
            yield table
        yield Text(_folded(headline(self.snapshot, self.left), options.max_width), style="bold")


def _folded(headline: str, width: int) -> str:
    """Break a headline between its parts, where it is wider than the console."""
    first, *parts = headline.split(GAP)
    lines = [first]
    for part in parts:
        if len(lines[-1]) + len(GAP) + len(part) <= width:
            lines[-1] += GAP + part
        else:
            lines.append(part)
    return "\n".join(lines)


def experiments(snapshots: Sequence[Snapshot]) -> Group:
    """Return one line per experiment, below them why some cannot be read."""
    counted = ("trials done", "pruned", "failed", "best F1 val", "trial", "last report")
    table = columns("experiment", "state", *counted, left=2)
    for column in table.columns[:2]:
        column.no_wrap = True
    for one in (snapshot.status for snapshot in snapshots):
        if one.error:
            table.add_row(one.name, one.state)
            continue
        best, since = one.best, one.last_report_s
        score, number = (_best_of(one, best), str(best.trial)) if best else ("", "")
        number += " (pruned)" if best and not one.completed else ""
        counts = (f"{one.finished}/{one.total}", str(one.pruned), str(one.failed))
        ago = "" if since is None else f"{duration(since)} ago"
        table.add_row(one.name, one.state, *counts, score, number, ago)
    states = [snapshot.status for snapshot in snapshots]
    return Group(table, *(sentence(f"{one.name}: {one.error}") for one in states if one.error))


def _best_of(status: trials.Status, best: BestTrial) -> str:
    """Return the best F1; where the target has no labels the objective's value, with its name."""
    if best.f1_macro_val is None:
        return f"{status.objective} {best.score:.3f}"
    return f"{best.f1_macro_val:.3f}"


def details(snapshot: Snapshot) -> Iterator[RenderableType]:
    """Yield what ``status`` shows of one experiment: trials at work, and why others failed."""
    yield from incomplete(snapshot.status.confirmation)
    if snapshot.running:
        yield ""
        yield Live(snapshot)
    for one in snapshot.status.failures[-SHOWN_FAILED:]:
        yield Text(f"trial {one.trial} failed: {one.error}", style="red")


def incomplete(confirmation: Any) -> list[str]:
    """Say that finalists still lack trainings, if they do."""
    return [str(confirmation)] if confirmation and not confirmation.is_whole else []


@dataclass(frozen=True)
class OneLineEach:
    """A table whose last columns are cut where the terminal is too narrow; no row is broken.

    Attributes:
        table: of columns that do not wrap.
        cut: number of the last columns that give way.
    """

    table: Table
    cut: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it; only a table that is too wide is fitted, as a pipe has columns without end."""
        natural = console.measure(self.table, options=options.update_width(WIDE)).maximum
        if natural > options.max_width:
            self.table.expand = True
            for column in self.table.columns[-self.cut :]:
                column.ratio = 1
        yield self.table


def leaderboard(
    board: trials.Leaderboard, top: int | None = None, columns: Sequence[str] | None = None
) -> Iterator[RenderableType]:
    """Yield a table of trials, one line each; with another objective than F1, its value beside F1.

    Parameters that are the same in all of them come first, once.

    Args:
        board: the trials.
        top: how many are shown.
        columns: parameters that get a column each; otherwise all that differ share one, which is
            cut where the terminal ends.
    """
    objective, shown = board.objective, board.trials[: top or SHOWN]
    scores = ["F1 val"] if objective == F1_MACRO else [objective, "F1 val"]
    labelled = objective == F1_MACRO or any(one.f1_macro_val is not None for one in board.trials)
    scores = scores if labelled else [objective]
    confirmed = ["new seeds"] if any(one.confirmed.values for one in shown) else []
    same = {} if columns else alike([one.searched for one in shown])
    rows = []
    for one in shown:
        values = [one.f1_macro_val] if objective == F1_MACRO else [one.score, one.f1_macro_val]
        cells = ["" if value is None else f"{value:.3f}" for value in values[: len(scores)]]
        cells += [str(one.epochs), *([_over_seeds(one.confirmed)] if confirmed else [])]
        recipe = [_described(one, same)]
        if columns:
            found = [field_of(one, name) for name in columns]
            recipe = ["" if value is None else short(value) for value in found]
        rows.append([str(one.trial), one.state, *cells, *recipe])
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "state", *scores, "epochs", *confirmed):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    for name in columns or ["parameters that differ"]:
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for one, row in zip(shown, rows, strict=True):
        table.add_row(*map(Text, row), style=LEADERBOARD_STYLES[one.state])
    if same:
        yield sentence(f"the same in all: {describe(same)}")
    yield OneLineEach(table, len(columns or [""]))
    yield from map(sentence, incomplete(board.confirmation))
    if top is None and (count := len(board.trials)) > SHOWN:
        yield sentence(f"the first {len(shown)} of {count} trials; all: --top {count}")


def _described(trial: trials.LeaderboardTrial, same: dict[str, Any]) -> str:
    if trial.confirms is not None:
        return f"trial {trial.confirms} again, seed {trial.config.seed}"
    if trial.error is not None:
        return trial.error
    origin = "" if trial.origin in (None, "grid") else f"[{trial.origin}] "
    return origin + describe({k: v for k, v in trial.searched.items() if k not in same})


def _over_seeds(confirmed: trials.Confirmed) -> str:
    if confirmed.mean is None:
        return ""
    spread = "" if confirmed.sd is None else f" ± {confirmed.sd:.3f}"
    return f"{confirmed.mean:.3f}{spread}"


def cleaned_up(result: trials.CleanedUp) -> str:
    """Say what was deleted."""
    done = "would delete" if result.dry_run else "deleted"
    kept = ", ".join(map(str, result.kept)) or "none"
    size = f"{result.bytes / 2**20:.1f} MiB"
    return f"{done} {result.files} files, {size}; models kept of trials: {kept}"


def search_ended(result: search.SearchEnded) -> Iterator[Text]:
    """Yield how a search ended, its best trial, and what to do next."""
    counts, best, where = result.trials, result.best, result.experiment
    yield sentence(
        f"{counted(counts.completed, 'trial')} completed, {counts.pruned} pruned, "
        f"{counts.failed} failed in {duration(result.elapsed_s)}"
    )
    if best:
        by = "" if result.objective == F1_MACRO else f", chosen by {result.objective}"
        if best.f1_macro_val is None:
            measured = f"{result.objective} {best.score:.3f} on target val, which needs no label"
        else:
            measured = f"macro-F1 {best.f1_macro_val:.3f} on target val{by}"
        rule = "" if counts.completed else "; it was pruned: any completed trial ranks above it"
        yield sentence(f"best: trial {best.trial}, {measured}{rule}")
        if best.confirmed_mean is not None:
            yield sentence(f"    {best.confirmed_mean:.3f} on average over new seeds")
        for line in incomplete(result.confirmation):
            yield sentence(f"    {line}; it is best by the search alone")
        if best.searched:
            yield sentence(f"    {describe(best.searched)}")
        yield sentence(f"    {where}/best/model.safetensors")
    if result.stopped_by == "trials":
        yield next_step(result)
    else:
        why = BY_ITSELF.get(result.stopped_by, "interrupted")
        yield sentence(f"stopped: {why}; continue with: dann-search resume {where}")
        if best and counts.completed:
            yield sentence("    best is the completed trial of the highest score, until then")


def next_step(result: search.SearchEnded) -> Text:
    """Say how to measure the best model."""
    labelled = result.best is None or result.best.f1_macro_val is not None
    data = "" if labelled else " --data LABELLED_FOLDER"
    return sentence(f"next: dann-search evaluate {result.experiment}{data}")
