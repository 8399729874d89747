"""All that is used of Optuna without being its public interface.

Checked with Optuna 5.0. A study's public methods work on copies of all its trials, or sample every
parameter anew; a search of thousands of trials reads and writes single ones.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import Connection, Executable
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

__all__ = ["one_transaction", "storage_id", "storage_of", "study_ids"]


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage of a study, where single trials are read and written."""
    return study._storage


def storage_id(trial: Any) -> int:
    """Return by which id its storage knows a trial; it is not the trial's number."""
    number: int = trial._trial_id
    return number


def study_ids(storage: BaseStorage) -> dict[str, int]:
    """Return the ids of all studies of a storage by name; the public summary reads all trials."""
    return {study.study_name: study._study_id for study in storage.get_all_studies()}


Write = Callable[..., Any]
"""A write of a trial's: its id in the storage, then the arguments of the storage's method."""


@contextmanager
def one_transaction(storage: BaseStorage) -> Iterator[dict[str, Write]]:
    """Write the block's writes to a database all at once, or none; Optuna commits each of them.

    A journal has no transactions: its writes are appended one after another. What is yielded are
    quicker ways to do what some of the storage's methods do, by their names.
    """
    if not isinstance(storage, RDBStorage):
        yield {}
        return
    usual = storage.scoped_session
    with storage.engine.begin() as connection:
        # Sessions of a connection that is within a transaction leave the commit to it.
        sessions = scoped_session(sessionmaker(bind=connection))

        def session() -> Session:
            # Optuna repeats a write that failed, but that has undone those before it, too.
            if not connection.in_transaction():
                raise OperationalError("BEGIN", {}, Exception("an earlier write failed"))
            return sessions()

        storage.scoped_session = session  # type: ignore[assignment]
        try:
            yield _quick_writes(connection) if storage.engine.name == "sqlite" else {}
        finally:
            storage.scoped_session = usual


def _quick_writes(connection: Connection) -> dict[str, Write]:
    """Return the writes of an epoch in a statement each.

    Optuna reads the trial before each of its writes, and a value before it replaces it: whether the
    trial is still open is known here.
    """

    def value(trial: int, step: int, intermediate_value: float) -> None:
        model = models.TrialIntermediateValueModel
        stored, kind = model.intermediate_value_to_stored_repr(intermediate_value)
        row = {"intermediate_value": stored, "intermediate_value_type": kind}
        written = _upsert(model, "step", *row)
        connection.execute(written, {"trial_id": trial, "step": step, **row})

    def attribute(model: Any, trial: int, key: str, value: Any) -> None:
        row = {"trial_id": trial, "key": key, "value_json": json.dumps(value)}
        connection.execute(_upsert(model, "key", "value_json"), row)

    return {
        "set_trial_intermediate_value": value,
        "set_trial_user_attr": partial(attribute, models.TrialUserAttributeModel),
        "set_trial_system_attr": partial(attribute, models.TrialSystemAttributeModel),
    }


@cache
def _upsert(model: Any, key: str, *values: str) -> Executable:
    """Return the statement that writes a row of a trial, or replaces its values."""
    new = insert(model.__table__)
    replaced = {name: new.excluded[name] for name in values}
    return new.on_conflict_do_update(index_elements=["trial_id", key], set_=replaced)
