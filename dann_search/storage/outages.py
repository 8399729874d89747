"""Failures of storage, disk, network or database: no trial's fault, and often over after a while.

What they refuse is tried again, ever more rarely, until it succeeds or a stated time has passed.
"""

import errno
import sys
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from dann_search.errors import StorageError

Result = TypeVar("Result")

FIRST_S, LONGEST_S, LOOK_S = 0.5, 60.0, 2.0
"""The first wait, the longest one, and how often it is asked meanwhile whether to wait on."""
DATABASE_S = 60.0
"""How long a database server may be away: a restart takes seconds."""
ERRNOS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO),
    *(errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH),
    *(errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH),
}
WORDS = (
    *("No space left on device", "Disk quota exceeded", "Read-only file system"),
    *("Input/output error", "Stale file handle", ": cannot be written: ", ": cannot be read: "),
    *(": cannot be looked into: ", ": cannot be listed: "),
)
"""In the errors of trials that older versions let fail for it."""


class OutageError(StorageError):
    """Storage, disk, network or database did not come back in time."""


def is_of_infrastructure(exc: BaseException) -> bool:
    """Return whether an error, or what caused it, is one of storage, disk, network or database."""
    return _cause(exc) is not None


def is_of_old_outage(error: str) -> bool:
    """Return whether a failed trial's recorded error is one, as older versions recorded them."""
    return any(words in error for words in WORDS)


def _cause(exc: BaseException) -> BaseException | None:
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, StorageError | ConnectionError | TimeoutError) or _of_database(seen):
            return seen
        if isinstance(seen, OSError) and seen.errno in ERRNOS:
            return seen
        seen = seen.__cause__
    return None


def _of_database(exc: BaseException) -> bool:
    # Where SQLAlchemy was not imported, as in workers, no error can be its own.
    module = sys.modules.get("sqlalchemy.exc")
    if module is None:
        return False
    return isinstance(exc, module.OperationalError | module.InterfaceError) or (
        isinstance(exc, module.DBAPIError) and exc.connection_invalidated
    )


def reason_of(exc: BaseException) -> str:
    """Return in one line what has failed, and where."""
    cause = _cause(exc) or exc
    if isinstance(cause, OSError) and cause.strerror:
        return f"{cause.strerror}: {cause.filename}" if cause.filename else cause.strerror
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


class Outages:
    """Tries again what storage, disk, network or database refuse.

    Args:
        limit_s: how long they may be away; at most ``DATABASE_S`` for a database server.
        trouble: called with a line when they are away and when the time is over, and with None when
            they are back.
        go_on: asked every few seconds whether to wait any longer.
    """

    def __init__(
        self,
        limit_s: float,
        trouble: Callable[[str | None], None] = lambda line: None,
        go_on: Callable[[], bool] = lambda: True,
    ):
        self.limit_s, self.trouble, self.go_on = limit_s, trouble, go_on

    def hold(self, action: Callable[[], Result]) -> Result:
        """Return what ``action`` returns, once it does; it may be called again and again.

        Raises:
            OutageError: the time is over, or there is no reason to wait any longer. Any other error
                is the action's own.
        """
        begun: float | None = None
        wait_s = FIRST_S
        while True:
            try:
                done = action()
            except Exception as exc:
                if isinstance(exc, OutageError) or not is_of_infrastructure(exc):
                    raise
                now = time.monotonic()
                begun = now if begun is None else begun
                left = begun + self._limit_of(exc) - now
                reason = reason_of(exc)
                self.trouble(f"waiting for storage, at most {_time(max(left, 0))} more: {reason}")
                if not self._rest(min(wait_s, left)):
                    waited = _time(time.monotonic() - begun)
                    if left <= 0:
                        self.trouble(f"storage has not come back in {waited}: {reason}")
                    raise OutageError(f"{reason} (waited {waited} for it)") from exc
                wait_s = min(2 * wait_s, LONGEST_S)
            else:
                if begun is not None:
                    self.trouble(None)
                return done

    def _rest(self, wait_s: float) -> bool:
        """Wait; return whether to try again."""
        if wait_s <= 0:
            return False
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            if not self.go_on():
                return False
            time.sleep(min(left, LOOK_S))
        return self.go_on()

    def _limit_of(self, exc: BaseException) -> float:
        cause = _cause(exc)
        is_server = _of_database(cause) and "sqlite" not in str(cause) if cause else False
        return min(self.limit_s, DATABASE_S) if is_server else self.limit_s


class Troubles:
    """What a search waits for now: told to its user, and kept where ``status`` finds it.

    Args:
        tell: called with a line for the user.
        keep: called with what is waited for, None for nothing.
    """

    def __init__(self, tell: Callable[[str], None], keep: Callable[[str | None], None]):
        self.tell, self.keep = tell, keep
        self._known: dict[str, frozenset[str]] = {}

    def now(self, who: str, lines: Collection[str]) -> None:
        """Note what the workers, or the driver, wait for."""
        before = frozenset[str]().union(*self._known.values())
        self._known[who] = frozenset(lines)
        after = frozenset[str]().union(*self._known.values())
        if before == after:
            return
        self.keep("; ".join(sorted(after)) or None)
        told = {_without_time(line) for line in before}
        for line in sorted(after):
            if _without_time(line) not in told:
                self.tell(line)
        if not after:
            self.tell("storage answers again: the search continues")


def _without_time(line: str) -> str:
    return line.partition(": ")[2]


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
