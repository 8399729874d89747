"""Whose an error is, and how long what storage refuses is tried again."""

import errno
from collections.abc import Callable
from types import SimpleNamespace

import optuna
import pytest
import sqlalchemy.exc

from dann_search.errors import RunError, StorageError
from dann_search.storage.outages import (
    OutageError,
    Outages,
    Troubles,
    is_of_infrastructure,
    reason_of,
)


def wrapped(exc: Exception) -> Exception:
    """As Optuna wraps what a database raises."""
    told = optuna.exceptions.StorageInternalError("typically happens due to invalid data")
    told.__cause__ = exc
    return told


GONE = sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("server closed\nmore"))


@pytest.mark.parametrize(
    ("exc", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "No space left on device: a/b"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset"), "Connection reset"),
        (StorageError("s3://b: cannot be written: 503"), "s3://b: cannot be written: 503"),
        (wrapped(GONE), "server closed"),
    ],
)
def test_what_belongs_to_the_infrastructure_is_named_by_its_cause(
    exc: Exception, reason: str
) -> None:
    assert is_of_infrastructure(exc)
    assert reason_of(exc) == reason


@pytest.mark.parametrize(
    "exc",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        RunError("the loss became nan"),
        ValueError("a bad recipe"),
        wrapped(sqlalchemy.exc.DataError("INSERT", {}, Exception("value too long"))),
    ],
)
def test_what_is_the_trials_own_is_raised_at_once(exc: Exception) -> None:
    calls = list[int]()

    def action() -> None:
        calls.append(1)
        raise exc

    with pytest.raises(type(exc)):
        Outages(3600.0).hold(action)
    assert calls == [1]


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr("dann_search.storage.outages.time", clock)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def failing(times: int, exc: Exception) -> Callable[[], str]:
    left = [exc] * times

    def action() -> str:
        if left:
            raise left.pop()
        return "done"

    return action


def test_it_is_tried_again_ever_more_rarely_and_told_when_it_is_back(clock: Clock) -> None:
    told = list[str | None]()
    full = OSError(errno.ENOSPC, "No space left on device")
    assert Outages(3600.0, told.append).hold(failing(10, full)) == "done"
    assert clock.now == 0.5 + 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60 + 60
    assert told[0] == "waiting for storage, at most 60 min more: No space left on device"
    assert (len(told), told[-1]) == (11, None)


@pytest.mark.parametrize(("exc", "after"), [(OSError(errno.EIO, "EIO"), 3600.0), (GONE, 60.0)])
def test_it_ends_after_the_stated_time_and_a_database_after_a_minute(
    clock: Clock, exc: Exception, after: float
) -> None:
    told = list[str | None]()
    with pytest.raises(OutageError, match="waited") as ended:
        Outages(3600.0, told.append).hold(failing(10_000, exc))
    assert clock.now == after
    assert reason_of(exc) in str(ended.value)
    assert str(told[-1]).startswith("storage has not come back in ")


def test_it_ends_at_once_where_nothing_is_waited_for_any_more(clock: Clock) -> None:
    with pytest.raises(OutageError):
        Outages(3600.0, go_on=lambda: False).hold(failing(9, StorageError("away")))
    assert clock.now == 0.0


def test_several_workers_that_wait_for_one_thing_are_told_once() -> None:
    told, kept = list[str](), list[str | None]()
    troubles = Troubles(told.append, kept.append)
    for lines in (["a: full"], ["a: full"], ["b: full"], []):
        troubles.now("workers", lines)
    troubles.now("driver", [])
    assert told == ["a: full", "storage answers again: the search continues"]
    assert kept == ["a: full", "b: full", None]
