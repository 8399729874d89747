"""Every trial with every parameter, best first."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from dann_search.results.confirmation import Confirmation
from dann_search.results.reader import TrialRow, read_experiment, read_trials
from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.result import F1_MACRO

SHOWN = 50
"""Trials that people are shown where they do not ask for more."""
ORDER = ("completed", "pruned", "running", "failed")
STYLES = {"completed": "", "pruned": "dim", "running": "cyan", "failed": "red"}


def ranked(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Completed trials by score, then those stopped early, unfinished and failed; earliest on ties.

    A stopped trial never stands above a completed one: see docs/decisions/0002. Once all finalists
    are confirmed they stand first, by their mean over the new seeds: before, one that lacks some of
    them would beat others by luck. The trials that confirm them stand last.
    """

    def place(row: TrialRow) -> tuple[bool, int, bool, float, int]:
        score = row.confirmed_mean if row.is_confirmed else row.score
        low = -math.inf if score is None else score
        place = ORDER.index(row.state), not row.is_confirmed, -low, row.number
        return row.confirms is not None, *place

    return sorted(rows, key=place)


def finished(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Trials that have a model and will not change: completed, then stopped early, best first."""
    done = ("completed", "pruned")
    return [row for row in ranked(rows) if row.state in done and row.confirms is None]


def best_to_json(row: TrialRow) -> dict[str, Any]:
    """The best trial as ``launch --json`` and ``status --json`` print it."""
    return {
        "trial": row.number,
        "config": row.config,
        "f1_macro_val": row.f1_macro_val,
        "score": row.score,
        "confirmed_mean": row.confirmed_mean,
    }


def to_json(
    rows: Sequence[TrialRow],
    objective: str = F1_MACRO,
    confirmation: Confirmation | None = None,
) -> dict[str, Any]:
    """As ``leaderboard --json`` prints it."""
    return {
        "objective": objective,
        "confirmation": confirmation and confirmation.to_json(),
        "trials": [
            {
                "trial": row.number,
                "state": row.state,
                "f1_macro_val": row.f1_macro_val,
                "score": row.score,
                "validators": row.validators,
                "epochs": row.epochs,
                "best_epoch": row.best_epoch,
                "config": row.config,
                "searched": row.params,
                "error": row.error,
                "origin": row.origin,
                "confirms": row.confirms,
                "confirmed": {
                    "mean": row.confirmed_mean,
                    "sd": row.confirmed_sd,
                    "values": list(row.confirmed),
                },
            }
            for row in rows
        ],
    }


def _shown(value: float | None) -> str:
    return "" if value is None else repr(value)


def write_csv(folder: ExperimentFolder) -> None:
    """Write leaderboard.csv: a column a searched parameter, blank where it does not apply."""
    names = list(read_experiment(folder).space)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = ranked(read_trials(folder))
    validators = sorted({name for row in rows for name in row.validators})
    head = ["rank", "trial", "state", "f1_macro_val", "epochs", "best_epoch"]
    confirmed = ["confirmed_mean", "confirmed_sd", "confirms"]
    writer.writerow([*head, *names, *validators, *confirmed])
    for rank, row in enumerate(rows, 1):
        values = [row.params.get(name, "") for name in names]
        columns = [_shown(row.validators.get(name)) for name in validators]
        score = _shown(row.f1_macro_val)
        best = "" if row.best_epoch is None else row.best_epoch
        last = map(_shown, (row.confirmed_mean, row.confirmed_sd, row.confirms))
        first = [rank, row.number, row.state, score, row.epochs, best]
        writer.writerow([*first, *values, *columns, *last])
    write_atomically(folder.leaderboard, text.getvalue().encode())


def render(rows: Sequence[TrialRow], objective: str = F1_MACRO) -> Table:
    """The table people read; with another objective than F1, its value beside it."""
    from dann_search.tracking.progress import describe

    table = Table(box=None, pad_edge=False)
    scores = ["F1 val"] if objective == F1_MACRO else [objective, "F1 val"]
    for name in ("trial", "state", *scores, "epochs"):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    confirmed = any(row.confirmed for row in rows)
    if confirmed:
        table.add_column("new seeds", justify="right", no_wrap=True)
    table.add_column("searched parameters", overflow="fold")
    for row in rows:
        shown = [row.f1_macro_val] if objective == F1_MACRO else [row.score, row.f1_macro_val]
        cells = ["" if value is None else f"{value:.3f}" for value in shown]
        cells.append(str(row.epochs))
        if confirmed:
            cells.append(_over_seeds(row))
        origin = "" if row.origin in (None, "grid") else f"[{row.origin}] "
        text = origin + describe(row.params) if row.error is None else row.error
        if row.confirms is not None:
            text = f"trial {row.confirms} again, seed {row.config.get('seed')}"
        table.add_row(str(row.number), row.state, *cells, Text(text), style=STYLES[row.state])
    return table


def _over_seeds(row: TrialRow) -> str:
    if row.confirmed_mean is None:
        return ""
    spread = "" if row.confirmed_sd is None else f" ± {row.confirmed_sd:.3f}"
    return f"{row.confirmed_mean:.3f}{spread}"
