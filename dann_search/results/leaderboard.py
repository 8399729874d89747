"""Every trial with every parameter, best first."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from dann_search.layout import ExperimentFolder
from dann_search.results.reader import TrialRow, read_experiment, read_trials

ORDER = ("completed", "pruned", "running", "failed")
STYLES = {"completed": "", "pruned": "dim", "running": "cyan", "failed": "red"}


def ranked(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Completed trials by F1, then those stopped early, unfinished and failed; earliest on ties.

    A stopped trial never stands above a completed one: see docs/decisions/0002.
    """
    return sorted(
        rows, key=lambda row: (ORDER.index(row.state), -(row.f1_macro_val or 0.0), row.number)
    )


def finished(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Trials that have a model and will not change: completed, then stopped early, best first."""
    return [row for row in ranked(rows) if row.state in ("completed", "pruned")]


def to_json(rows: Sequence[TrialRow]) -> dict[str, Any]:
    """As ``leaderboard --json`` prints it."""
    return {
        "trials": [
            {
                "trial": row.number,
                "state": row.state,
                "f1_macro_val": row.f1_macro_val,
                "epochs": row.epochs,
                "best_epoch": row.best_epoch,
                "config": row.config,
                "searched": row.params,
                "error": row.error,
            }
            for row in rows
        ]
    }


def write_csv(folder: ExperimentFolder) -> None:
    """Write leaderboard.csv: a column a searched parameter, blank where it does not apply."""
    names = list(read_experiment(folder).space)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "trial", "state", "f1_macro_val", "epochs", "best_epoch", *names])
    for rank, row in enumerate(ranked(read_trials(folder)), 1):
        values = [row.params.get(name, "") for name in names]
        score = "" if row.f1_macro_val is None else repr(row.f1_macro_val)
        best = "" if row.best_epoch is None else row.best_epoch
        writer.writerow([rank, row.number, row.state, score, row.epochs, best, *values])
    temporary = folder.leaderboard.with_suffix(".new")
    temporary.write_text(text.getvalue(), encoding="utf-8")
    temporary.replace(folder.leaderboard)


def render(rows: Sequence[TrialRow]) -> Table:
    """The table people read."""
    from dann_search.tracking.progress import describe

    table = Table(box=None, pad_edge=False)
    for name in ("trial", "state", "F1 val", "epochs"):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    table.add_column("searched parameters", overflow="fold")
    for row in rows:
        score = "" if row.f1_macro_val is None else f"{row.f1_macro_val:.3f}"
        text = describe(row.params) if row.error is None else row.error
        table.add_row(
            str(row.number), row.state, score, str(row.epochs), text, style=STYLES[row.state]
        )
    return table
