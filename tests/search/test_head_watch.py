"""The watch over a cluster's head, with a real port that answers and falls silent."""

import errno
import socket
import threading
import time
from dataclasses import replace

import pytest

from dann_search.search.head_watch import JOINED, OWN, Patience, watched_head
from tests.drivers import LIMIT_S

QUICK = replace(JOINED, look_s=0.02, tell_s=0.1)


def listen(port: int = 0) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), reuse_port=True)


@pytest.mark.parametrize(
    ("patience", "name"),
    [
        (replace(QUICK, end_s=0.4), "the head of the cluster, {},"),
        (replace(OWN, look_s=0.02, tell_s=0.1, end_s=0.4), "Ray on this machine"),
    ],
)
def test_a_head_that_falls_silent_is_told_and_ends_the_search(
    patience: Patience, name: str
) -> None:
    head = listen()
    address = f"127.0.0.1:{head.getsockname()[1]}"
    told, ends, ended = list[str](), list[str](), threading.Event()

    def end(what: str) -> None:
        ends.append(what)
        ended.set()

    with watched_head(address, told.append, end, patience):
        assert not ended.wait(0.6) and not told
        head.close()
        assert ended.wait(LIMIT_S)
    name = name.format(address)
    assert told == [f"{name} does not answer"]
    assert ends[0].startswith(f"{name} has not answered for ")


@pytest.mark.parametrize("error", [OSError(errno.EHOSTUNREACH, ""), TimeoutError()])
def test_a_head_of_ones_own_that_the_network_hides_ends_nothing(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, ends = list[str](), list[str]()
    looks, tells = threading.Semaphore(0), threading.Semaphore(0)

    def tell(line: str) -> None:
        told.append(line)
        tells.release()

    def connect(*_: object) -> socket.socket:
        looks.release()
        raise error

    with listen() as head:
        with watched_head(
            f"127.0.0.1:{head.getsockname()[1]}",
            tell,
            ends.append,
            replace(OWN, look_s=0.001, tell_s=0.0, gone_s=0.0),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(socket, "create_connection", connect)
                assert all(looks.acquire(timeout=LIMIT_S) for _ in range(10))
            assert all(tells.acquire(timeout=LIMIT_S) for _ in range(2))
        assert [line.split(" machine ")[-1] for line in told] == [
            "does not answer",
            "answers again",
        ]
    assert ends == []


def test_a_search_that_fails_because_its_head_is_gone_says_so() -> None:
    head, ends = listen(), list[str]()
    address = f"127.0.0.1:{head.getsockname()[1]}"
    with (
        pytest.raises(RuntimeError, match="the dispatcher was lost"),
        watched_head(address, print, ends.append, replace(JOINED, look_s=0.5, end_s=LIMIT_S)),
    ):
        head.close()
        raise RuntimeError("the dispatcher was lost")
    assert ends == [f"the head of the cluster, {address}, does not answer"]


def test_a_head_that_comes_back_is_told_and_ends_nothing() -> None:
    head = listen()
    port = head.getsockname()[1]
    told, silent, back = list[str](), threading.Event(), threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        (back if silent.is_set() else silent).set()

    def end(what: str) -> None:
        raise AssertionError(what)

    with watched_head(f"127.0.0.1:{port}", tell, end, replace(QUICK, end_s=LIMIT_S)):
        head.close()
        assert silent.wait(LIMIT_S)
        head = listen(port)
        assert back.wait(LIMIT_S)
    head.close()
    assert [line.split(", ")[-1] for line in told] == ["does not answer", "answers again"]


@pytest.mark.parametrize("while_it_runs", [True, False])
def test_a_process_of_its_own_that_has_died_is_said_at_once(while_it_runs: bool) -> None:
    """The raylet's port is not watched, and Ray ends the driver 14 seconds later."""
    died, ends, ended = list[str](), list[str](), threading.Event()

    def end(what: str) -> None:
        ends.append(what)
        ended.set()

    with listen() as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        patience = replace(OWN, look_s=0.02 if while_it_runs else LIMIT_S)
        with watched_head(address, print, end, patience, lambda: died):
            assert not ended.wait(0.1)
            died.append("raylet")
            assert not while_it_runs or ended.wait(LIMIT_S)
    assert set(ends) == {"Ray on this machine has ended: its raylet died"}


def test_a_head_that_was_looked_at_late_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal that ended it may not have reached this process yet."""
    looks, ends, ended = list[float](), list[str](), threading.Event()

    def connect(*_: object) -> socket.socket:
        looks.append(time.monotonic())
        if len(looks) == 1:
            time.sleep(0.2)  # a busy machine
        raise ConnectionRefusedError

    def end(what: str) -> None:
        ends.append(f"{len(looks)}: {what}")
        ended.set()

    monkeypatch.setattr(socket, "create_connection", connect)
    with watched_head("127.0.0.1:9", print, end, replace(OWN, look_s=0.01, gone_s=0.1)):
        assert ended.wait(LIMIT_S)
    assert int(ends[0].split(":")[0]) > 1 and "has not answered" in ends[0]


def test_a_process_that_has_died_is_looked_at_twice() -> None:
    looks, ends, ended = list[int](), list[int](), threading.Event()

    def dead() -> list[str]:
        looks.append(1)
        return ["raylet"]

    def end(_: str) -> None:
        ends.append(len(looks))
        ended.set()

    with listen() as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with watched_head(address, print, end, replace(OWN, look_s=0.01), dead):
            assert ended.wait(LIMIT_S)
    assert ends[0] == 2
