"""Which trials of a leaderboard are shown, and in which order."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from dann_search.config.trial import TrialConfig
from dann_search.errors import InputError, nearest
from dann_search.outputs.trials import Leaderboard, LeaderboardTrial

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


def value_of(trial: LeaderboardTrial, name: str) -> Any:
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
        keyed = [(value_of(one, name), one) for one in trials]
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
    value = value_of(trial, name)
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
