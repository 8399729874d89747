"""Read a study in a file of SQLite without Optuna.

Importing Optuna's storage, with SQLAlchemy and Alembic, takes longer than all else that ``status``
does. Whatever is unusual is left to Optuna, which also says what is wrong: tables of another
version, a damaged file, a study of another experiment.
"""

import json
import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REVISION = "v3.2.0.a"
"""The revision of Optuna's tables that is read here."""
LOCK_TIMEOUT_S = 60
"""How long a reader waits for a process that writes."""
NOT_FINITE = {"NAN": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf}


@dataclass(frozen=True)
class StoredTrial:
    """What a row needs of ``optuna.trial.FrozenTrial``, under the same names."""

    number: int
    state: SimpleNamespace
    datetime_complete: datetime | None
    params: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    intermediate_values: dict[int, float] = field(default_factory=dict)


def read_sqlite_study(file: Path, name: str) -> tuple[list[StoredTrial], dict[str, Any]] | None:
    """Return the trials of a study by number, and its attributes; None to leave it to Optuna."""
    try:
        # Read only: what a killed writer left is undone by the next one, or by Optuna.
        place = f"{file.resolve().as_uri()}?mode=ro"
        with closing(
            sqlite3.connect(place, LOCK_TIMEOUT_S, isolation_level=None, uri=True)
        ) as database:
            database.execute("BEGIN")  # all tables as they were at one moment
            if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return None
            return _read(database, name)
    except (sqlite3.Error, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None


def _read(
    database: sqlite3.Connection, name: str
) -> tuple[list[StoredTrial], dict[str, Any]] | None:
    revisions = database.execute("SELECT version_num FROM alembic_version").fetchall()
    studies = database.execute("SELECT study_name FROM studies").fetchall()
    if revisions != [(REVISION,)] or studies != [(name,)]:
        return None
    trials = {
        key: StoredTrial(number, SimpleNamespace(name=state), _moment(ended))
        for key, number, state, ended in database.execute(
            "SELECT trial_id, number, state, datetime_complete FROM trials ORDER BY number"
        )
    }
    for key, parameter, value, distribution in database.execute(
        "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params"
        " ORDER BY param_id"
    ):
        trials[key].params[parameter] = _parameter(value, json.loads(distribution))
    for key, attribute, content in database.execute(
        "SELECT trial_id, key, value_json FROM trial_user_attributes"
    ):
        trials[key].user_attrs[attribute] = json.loads(content)
    for key, step, value, kind in database.execute(
        "SELECT trial_id, step, intermediate_value, intermediate_value_type"
        " FROM trial_intermediate_values ORDER BY step"
    ):
        trials[key].intermediate_values[step] = NOT_FINITE.get(kind, value)
    of_study = database.execute("SELECT key, value_json FROM study_user_attributes")
    return list(trials.values()), {key: json.loads(content) for key, content in of_study}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _parameter(value: float, distribution: dict[str, Any]) -> Any:
    """Return a value as it was suggested; a choice is stored by its place among the choices."""
    match distribution["name"]:
        case "CategoricalDistribution":
            return distribution["attributes"]["choices"][int(value)]
        case "IntDistribution":
            return int(value)
        case "FloatDistribution":
            return value
    raise LookupError(distribution["name"])
