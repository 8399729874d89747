"""Choose trials: one by its rank or number, or those of a leaderboard that meet conditions."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError, nearest
from dann_search.outputs.trials import Leaderboard, LeaderboardTrial
from dann_search.results.leaderboard import finished
from dann_search.results.reader import read_experiment
from dann_search.results.rows import TrialRow
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.result import F1_MACRO

FIELDS = ("trial", "state", "score", "f1_macro_val", "epochs", "best_epoch", "origin")
"""What trials have besides their recipes."""
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(r"(\w+)\s*(!=|<=|>=|=|<|>)\s*(.+)")


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
        folder: of the experiment.
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


def field_of(trial: LeaderboardTrial, name: str) -> Any:
    """Return a field of a trial, or a parameter of its recipe that applies or was not searched.

    Raises:
        InputError: there is no such name.
    """
    if name in FIELDS:
        return getattr(trial, name)
    if name not in TrialConfig.model_fields:
        raise InputError(f"'{name}': {nearest(name, [*FIELDS, *TrialConfig.model_fields])}")
    return trial.searched.get(name, getattr(trial.config, name, None))


def selected(board: Leaderboard, where: Sequence[str], sort: str | None) -> Leaderboard:
    """Return the trials that meet all conditions, best first or in the order of a value.

    Args:
        board: all trials, best first.
        where: conditions such as ``backbone=resnet50`` and ``epochs>=4``.
        sort: name of a value, smallest first; ``NAME:desc`` for the largest first.

    Raises:
        InputError: a condition or a name cannot be understood.
    """
    trials = [one for one in board.trials if all(_meets(one, text) for text in where)]
    if sort:
        name, _, order = sort.partition(":")
        if order not in ("", "asc", "desc"):
            raise InputError(f"--sort {sort}: expected NAME, NAME:asc or NAME:desc")
        keyed = [(field_of(one, name), one) for one in trials]
        known = sorted(
            (pair for pair in keyed if pair[0] is not None),
            key=lambda pair: _comparable(pair[0]),
            reverse=order == "desc",
        )
        trials = [one for _, one in known] + [one for value, one in keyed if value is None]
    return board.model_copy(update={"trials": trials})


def _meets(trial: LeaderboardTrial, condition: str) -> bool:
    parts = CONDITION.fullmatch(condition.strip())
    if parts is None:
        raise InputError(f"--where {condition}: expected NAME=VALUE, or one of != < <= > >=")
    name, sign, wanted = parts.groups()
    value = field_of(trial, name)
    if value is None:
        return sign == "!="
    one, other = _comparable(value), _comparable(wanted)
    if one[0] != other[0]:  # a number and a text
        return sign == "!="
    return COMPARE[sign](one, other)


def _comparable(value: Any) -> tuple[bool, float, str]:
    """Return what sorts: numbers by their size, before texts by their letters."""
    try:
        return False, float(value), ""
    except (TypeError, ValueError):
        return True, 0.0, str(value)
