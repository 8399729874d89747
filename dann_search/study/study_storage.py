"""Where a study is kept: SQLite, Optuna's journal on shared file systems, or a database by URL."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

import optuna
import yaml
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from dann_search.config.database_url import connection_url, shown_url
from dann_search.config.source import KeyPath, SettingError
from dann_search.errors import InputError
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.outages import reason_of
from dann_search.study.optuna_private import study_ids
from dann_search.study.study_names import EXPERIMENT, WARM

SHARED = ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "ceph", "glusterfs", "beegfs", "afs")
"""File systems on which SQLite's locks cannot be trusted; so are all of FUSE."""
CONNECT_TIMEOUT_S, LOCK_TIMEOUT_S = 10, 60
CONNECT_TIMEOUT = {
    **dict.fromkeys(("psycopg", "psycopg2", "psycopg2cffi"), "connect_timeout"),
    **dict.fromkeys(("mysqldb", "pymysql", "mariadbconnector"), "connect_timeout"),
    "mysqlconnector": "connection_timeout",
    "oracledb": "tcp_connect_timeout",
    "pymssql": "login_timeout",
    **dict.fromkeys(("pysqlite", "pg8000", "pyodbc"), "timeout"),
}
"""By driver, the argument for how long a connection may take."""
DAMAGE = (SQLAlchemyError, StorageInternalError, JSONDecodeError, UnicodeDecodeError)
"""Errors of reading a damaged study."""
STUDY: KeyPath = ("search", "study")
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""What has another name on PyPI than the module that a database's dialect imports."""


@dataclass(frozen=True)
class StudyPlace:
    """One study: a file beside the experiment, or a database."""

    kind: str
    file: Path
    url: str | None = None

    @property
    def shown(self) -> str:
        """As messages name it: never with a password."""
        return str(self.file) if self.url is None else shown_url(self.url)

    def exists(self, name: str) -> bool:
        """Whether the study has been made, and whole.

        Raises:
            InputError: the database cannot be opened.
        """
        return self._state(name) == "whole"

    def is_half_made(self, name: str) -> bool:
        """Whether a crash cut off the making of the study: in a database alone.

        Raises:
            InputError: the database cannot be opened.
        """
        return self._state(name) == "half made"

    def _state(self, name: str) -> str:
        if self.url is None:  # a file is renamed when the study is whole
            return "whole" if self.file.exists() else "absent"
        with opened(self) as storage:
            study = study_ids(storage).get(name)
            if study is None:
                return "absent"
            return "half made" if _is_half_made(storage, study) else "whole"


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
        try:
            return JournalStorage(JournalFileBackend(str(place.file)))
        # A line that is no JSON, or none of a journal's. One cut off at the end is not yet one.
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as exc:
            raise _unreadable(place, exc) from None
    try:
        # Not pasted together: "?" and "%" in a path have a meaning in URLs.
        file = URL.create("sqlite", database=str(place.file)).render_as_string(False)
        url = file if place.url is None else connection_url(place.url)
    except ValueError as exc:
        raise SettingError(STUDY, f"{place.shown} {exc}") from None
    try:
        return RDBStorage(
            url,
            # A server may have closed what is idle, or was restarted: ask before each use.
            {"connect_args": patience(url), "pool_pre_ping": place.url is not None},
            # Whoever reads a file that is no study leaves it as it is.
            skip_table_creation=place.url is None and place.file.exists(),
        )
    except RuntimeError as exc:
        if "upgrade" not in str(exc):
            raise
        raise InputError(
            f"{place.shown}: the study was made by another version of Optuna (this is "
            f"{optuna.__version__}); after a copy of it: optuna storage upgrade --storage URL"
        ) from None
    except ImportError as exc:
        module = getattr(exc.__cause__, "name", None) or str(exc.__cause__ or exc)
        package = PACKAGES.get(module, module)
        message = f"{place.shown} needs a package that is not installed: pip install '{package}'"
        raise SettingError(STUDY, message) from None
    except Exception as exc:  # SQLAlchemy's and each driver's own
        raise _unreadable(place, exc) from None


def patience(url: str) -> dict[str, int]:
    """How long a connection may take, in seconds, as the driver of a database calls it.

    SQLite's is how long it waits for another process that writes. A driver not known here waits as
    long as it likes; what the URL itself says goes before.
    """
    parsed = make_url(url)
    try:
        name = CONNECT_TIMEOUT.get(parsed.get_driver_name())
    except NoSuchModuleError:  # opening it says so
        return {}
    if name is None or name in parsed.query:
        return {}
    return {name: LOCK_TIMEOUT_S if parsed.get_backend_name() == "sqlite" else CONNECT_TIMEOUT_S}


def _unreadable(place: StudyPlace, exc: BaseException) -> InputError:
    if isinstance(exc, StorageInternalError):  # Optuna's own words speak of a commit
        exc = exc.__cause__ or exc
    reason = reason_of(exc)
    if place.url is None:
        return InputError(f"{place.shown} cannot be read: {reason}")
    return SettingError(STUDY, f"{place.shown} cannot be opened: {reason}")


def mend_journal(file: Path) -> None:
    """Cut off the last lines of a journal that a crash left in pieces. For its one writer alone.

    What would be appended to a piece of a line were lost with it.
    """
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    while whole and not _is_json(whole[whole.rfind(b"\n", 0, -1) + 1 :]):
        whole = whole[: whole.rfind(b"\n", 0, -1) + 1]
    if 0 < len(whole) < len(content):  # what has no whole line is no journal
        with open(file, "r+b") as opened_file:
            opened_file.truncate(len(whole))
            os.fsync(opened_file.fileno())


def _is_json(line: bytes) -> bool:
    with contextlib.suppress(ValueError):
        json.loads(line)
        return True
    return False


def close(storage: BaseStorage) -> None:
    """Let go of connections."""
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


@contextlib.contextmanager
def opened(place: StudyPlace, stays_open: bool = False) -> Iterator[BaseStorage]:
    """Open a storage for the block; report damage found in it as bad input.

    It ``stays_open`` after the block where no error ends that.

    Raises:
        InputError: as ``open_study_storage``, or a part of it cannot be read.
    """
    storage = open_study_storage(place)
    try:
        yield storage
    except BaseException as exc:
        stays_open = False
        if isinstance(exc, DAMAGE):
            raise _unreadable(place, exc) from None
        raise
    finally:
        if not stays_open:
            close(storage)


def check_whole(storage: BaseStorage, place: StudyPlace) -> None:
    """Check a file of SQLite as a whole: a search would meet the damage in its middle.

    Raises:
        InputError: it is damaged.
    """
    if place.url is not None or not isinstance(storage, RDBStorage):
        return
    with storage.engine.connect() as connection:
        said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if said != "ok":
        raise InputError(f"{place.shown} is damaged: {said}; put a whole copy of it in its place")


def find_study(storage: BaseStorage, place: StudyPlace, name: str, folder: ExperimentFolder) -> int:
    """Return the id of an experiment's study in the place where it should be.

    Raises:
        InputError: there are others, or it is of another experiment of that name.
    """
    studies = study_ids(storage)
    if name not in studies or (place.url is None and len(studies) > 1):
        raise InputError(f"{place.shown}: holds the studies {sorted(studies)}, not '{name}'")
    owner = storage.get_study_user_attrs(studies[name]).get(EXPERIMENT)
    if owner is not None and owner != identity(folder):
        raise InputError(
            f"{place.shown}: its study '{name}' belongs to another experiment of that name; "
            "put this one's back, or launch it under another name"
        )
    return studies[name]


def identity(folder: ExperimentFolder) -> str | None:
    """Return what tells an experiment from others of its name; None before it was laid out."""
    if not folder.record.exists():
        return None
    found: str | None = yaml.safe_load(folder.record.read_text(encoding="utf-8")).get("id")
    return found


def _is_half_made(storage: BaseStorage, study: int) -> bool:
    """Whether a study has no owner and no trial but those it was to learn from.

    Older versions named no owner: theirs have trials, or nothing that could be lost.
    """
    if EXPERIMENT in storage.get_study_user_attrs(study):
        return False
    return all(WARM in trial.user_attrs for trial in storage.get_all_trials(study, deepcopy=False))
