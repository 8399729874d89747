"""A worker's watchdog: what it tells, and when it ends its process."""

import threading
from contextlib import nullcontext

import pytest

from dann_search.search import watchdog
from dann_search.search.watchdog import STALLED, Watchdog


class Ended:
    """What a watchdog says and does at the end, after which its thread does nothing more here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.status, self.said = list[int](), list[tuple[str, bool]]()
        self.done = threading.Event()
        monkeypatch.setattr("os._exit", self._exit)
        monkeypatch.setattr(watchdog, "TELL_S", 0.0)

    def stalled(self, why: str, of_storage: bool) -> None:
        self.said.append((why, of_storage))

    def _exit(self, status: int) -> None:
        self.status.append(status)
        self.done.set()
        threading.Event().wait()


@pytest.mark.parametrize("on_storage", [False, True])
def test_a_worker_without_progress_ends_and_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, on_storage: bool
) -> None:
    ended = Ended(monkeypatch)
    dog = Watchdog(0.2, stalled=ended.stalled)
    with dog.on_storage() if on_storage else nullcontext():
        dog.beat()
        assert ended.done.wait(30)
    what = "storage did not answer" if on_storage else "it made no progress"
    assert ended.said == [(f"{what} for 0.2 s, the limit in resources.stall_timeout_s", on_storage)]
    assert ended.status == [STALLED]


def test_a_worker_that_rests_is_alive_and_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, signs = Ended(monkeypatch), threading.Semaphore(0)
    dog = Watchdog(0.1, alive=signs.release, stalled=ended.stalled)
    dog.beat()
    dog.rest()
    for _ in range(10):  # two and a half timeouts
        assert signs.acquire(timeout=30)
    assert not ended.said
