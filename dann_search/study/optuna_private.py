"""All that is used of Optuna without being its public interface.

Checked with Optuna 5.0. A study's public methods work on copies of all its trials, or sample every
parameter anew; a search of thousands of trials reads and writes single ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
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


@contextmanager
def one_transaction(storage: BaseStorage) -> Iterator[None]:
    """Write the block's writes to a database all at once, or none; Optuna commits each of them.

    A journal has no transactions: its writes are appended one after another.
    """
    if not isinstance(storage, RDBStorage):
        yield
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
            yield
        finally:
            storage.scoped_session = usual
