"""Choose a trial by its rank, its number, or another objective."""

from collections.abc import Sequence

from dann_search.errors import InputError, nearest
from dann_search.results.leaderboard import finished
from dann_search.results.reader import read_experiment
from dann_search.results.rows import TrialRow
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.result import F1_MACRO


def choose(
    rows: list[TrialRow],
    folder: ExperimentFolder,
    rank: int | None = None,
    trial: int | None = None,
    objective: str | None = None,
) -> TrialRow:
    """Return the trial of a rank, by default the first, or of a number.

    Args:
        rows: every trial.
        folder: folder of the experiment, for messages.
        rank: rank of the trial; 1 is the best.
        trial: number of the trial, instead of its rank.
        objective: ``f1_macro`` or a validator, to rank completed trials by its value at their best
            epoch, instead of by the leaderboard's order.

    Raises:
        InputError: there is no such trial, it has no model, or there is no such objective.
    """
    if trial is not None:
        if rank is not None or objective is not None:
            other = "--rank" if rank is not None else "--objective"
            raise InputError(f"--trial {trial} names the one trial: leave out {other}")
        return _numbered(rows, folder, trial)
    candidates = finished(rows)
    if not candidates:
        raise InputError(
            f"{folder.root}: no trial has finished yet; see dann-search status {folder.root}"
        )
    if objective is not None:
        candidates = _by_objective(candidates, folder, objective)
    rank = rank or 1
    if rank > len(candidates):
        raise InputError(f"{folder.root}: rank {rank} of {len(candidates)} finished trials")
    return candidates[rank - 1]


def _numbered(rows: list[TrialRow], folder: ExperimentFolder, trial: int) -> TrialRow:
    found = [row for row in rows if row.number == trial]
    if not found:
        raise InputError(f"{folder.root}: no trial {trial}; there are 0 to {len(rows) - 1}")
    if found[0].score is None:
        raise InputError(f"{folder.root}: trial {trial} is {found[0].state} and has no model")
    return found[0]


def _by_objective(
    candidates: Sequence[TrialRow], folder: ExperimentFolder, objective: str
) -> list[TrialRow]:
    known = {F1_MACRO, *(name for row in candidates for name in row.validators)}
    if objective not in known:
        raise InputError(f"--objective: unknown '{objective}'; {nearest(objective, known)}")
    if objective == read_experiment(folder).search.objective:
        return list(candidates)  # The leaderboard's order also counts confirmations.
    valued = [(value_of(row, objective), row) for row in candidates if row.state == "completed"]
    having = [(value, row) for value, row in valued if value is not None]
    if not having:
        raise InputError(f"{folder.root}: no completed trial has a value of {objective}")
    return [row for _, row in sorted(having, key=lambda pair: (-pair[0], pair[1].number))]


def value_of(row: TrialRow, objective: str) -> float | None:
    """Return a trial's value of ``f1_macro`` or of a validator at its best epoch."""
    return row.f1_macro_val if objective == F1_MACRO else row.validators.get(objective)
