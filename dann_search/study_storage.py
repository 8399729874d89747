"""Where a study is kept: SQLite, Optuna's journal on shared file systems, or a database by URL."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder

SHARED = ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "ceph", "glusterfs", "beegfs", "afs")
"""File systems on which SQLite's locks cannot be trusted; so are all of FUSE."""
CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True)
class StudyPlace:
    """One study: a file beside the experiment, or a database."""

    kind: str
    file: Path
    url: str | None = None

    @property
    def shown(self) -> str:
        """As messages name it: never with a password."""
        return str(self.file) if self.url is None else re.sub(r":[^:@/]*@", ":…@", self.url)

    def exists(self, name: str) -> bool:
        """Whether the study has been made.

        Raises:
            InputError: the database cannot be opened.
        """
        if self.url is None:
            return self.file.exists()
        with opened(self) as storage:
            return name in [study.study_name for study in storage.get_all_studies()]


def study_place(folder: ExperimentFolder, stated: str) -> StudyPlace:
    """Where the study of an experiment is, or is to be, by its ``search.study``."""
    if "://" in stated:
        return StudyPlace("url", folder.study, stated)
    journal = folder.study_journal
    if stated == "auto":
        stated = "journal" if journal.exists() else "sqlite"
        if not folder.study.exists() and is_shared(folder.root):
            stated = "journal"
    return StudyPlace(stated, journal if stated == "journal" else folder.study)


def is_shared(path: Path) -> bool:
    """Whether a path lies on a file system that several machines may mount."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    mounts = [(Path(where), kind) for _, where, kind, *_ in map(str.split, lines)]
    inside = [(len(m.parts), kind) for m, kind in mounts if path.resolve().is_relative_to(m)]
    _, kind = max(inside, default=(0, ""))
    return kind in SHARED or kind.startswith("fuse.")


def open_study_storage(place: StudyPlace) -> BaseStorage:
    """Open it; ``$NAME`` in a URL is taken from the environment.

    Raises:
        InputError: the database cannot be reached, lacks a driver, or is of another Optuna.
    """
    if place.kind == "journal":
        return JournalStorage(JournalFileBackend(str(place.file)))
    url = f"sqlite:///{place.file}" if place.url is None else os.path.expandvars(place.url)
    waiting = "timeout" if url.startswith("sqlite") else "connect_timeout"
    seconds = 60 if url.startswith("sqlite") else CONNECT_TIMEOUT_S
    try:
        return RDBStorage(url, engine_kwargs={"connect_args": {waiting: seconds}})
    except RuntimeError as exc:
        if "upgrade" not in str(exc):
            raise
        raise InputError(
            f"{place.shown}: the study was made by another version of Optuna (this is "
            f"{optuna.__version__}); after a copy of it: optuna storage upgrade --storage URL"
        ) from None
    except Exception as exc:  # SQLAlchemy's and each driver's own
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise InputError(f"search.study: {place.shown} cannot be opened: {reason}") from None


def close(storage: BaseStorage) -> None:
    """Let go of connections."""
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


@contextlib.contextmanager
def opened(place: StudyPlace) -> Iterator[BaseStorage]:
    """A storage for a while."""
    storage = open_study_storage(place)
    try:
        yield storage
    finally:
        close(storage)
