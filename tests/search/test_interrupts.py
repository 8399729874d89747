"""Ctrl-C, SIGTERM and SIGHUP: what a command does on the first, on the second, and how it ends."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from dann_search.search.interrupts import SIGNALS, TOGETHER_S, handlers_kept, interrupts
from dann_search.search.ray_session import ray_session
from tests.terminals import Terminal

COMMANDS = """
import ctypes, signal, sys, threading, time
from pathlib import Path
from dann_search.cli import entry_point
from dann_search.cli.app import app, emit
from dann_search.search import interrupts as interrupts_module
from dann_search.search.interrupts import SIGNALS, at_once, interrupts
from dann_search.search.ray_session import quiet_output

@app.command()
def hang(json: bool = False):
    print("begun", file=sys.stderr, flush=True)
    time.sleep(60)

@app.command()
def search(seconds: float = 60, json: bool = False):
    event = threading.Event()
    with interrupts(event), quiet_output(Path("log")) as terminal:
        print("begun", file=terminal)
        event.wait()
        print("saving", file=terminal)
        time.sleep(seconds)
        print("saved", file=terminal)
        print("in the log")
    Path("saved").touch()
    emit(json, {"stopped_by": "interrupt"}, "continue with: resume")

@app.command()
def stuck(json: bool = False):
    interrupts_module.PATIENCE_S = 0.2
    main = Path(f"/proc/self/task/{threading.get_native_id()}/stat")
    def other():
        time.sleep(0.3)
        while main.read_text().rsplit(")", 1)[1].split()[0] != "S":
            time.sleep(0.1)  # until the main thread is in native code
        print("begun", file=sys.stderr, flush=True)
        time.sleep(60)
    with interrupts(threading.Event()), at_once("what was trained is kept"):
        native = ctypes.CDLL(None).sleep
        threading.Thread(target=other, daemon=True).start()
        # Native code that no signal wakes: it goes to the other thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        native(60)

sys.argv[0] = "dann-search"
entry_point()
"""
LIMIT_S = 60
Handler = Callable[[int, FrameType | None], Any] | int | None


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A command that has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMANDS, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    read(process, "begun")
    return process


def read(process: subprocess.Popen[str], expected: str) -> None:
    assert process.stderr
    assert process.stderr.readline().strip() == expected


def ended_by(number: signal.Signals, process: subprocess.Popen[str]) -> tuple[str, str]:
    """End a command by a signal; what it wrote on both streams."""
    process.send_signal(number)
    out, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 128 + number
    return out, said


@pytest.fixture
def handlers() -> Iterator[list[Handler]]:
    """Handlers of this test's own; they are there again after it."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield before
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_search_learns_of_a_signal_and_leaves_the_handlers_as_they_were(
    number: signal.Signals, handlers: list[Handler]
) -> None:
    with interrupts(threading.Event()) as event:
        signal.raise_signal(number)
        assert event.is_set()
    assert [signal.getsignal(one) for one in SIGNALS] == handlers


def test_a_second_signal_goes_to_whoever_handled_it_before(handlers: list[Handler]) -> None:
    got: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    with interrupts(threading.Event()):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # as timeout(1) sends it
        assert got == []
        time.sleep(TOGETHER_S + 0.1)
        signal.raise_signal(signal.SIGTERM)
        assert got == [signal.SIGTERM]


def test_an_ignored_signal_stays_ignored(handlers: list[Handler]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupts(threading.Event()) as event:
        signal.raise_signal(signal.SIGHUP)
        assert not event.is_set()


def test_outside_of_the_main_thread_nothing_is_handled(handlers: list[Handler]) -> None:
    seen: list[list[Handler]] = []

    def run() -> None:
        with interrupts(threading.Event()):
            seen.append([signal.getsignal(number) for number in SIGNALS])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [handlers]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_says_that_it_was_interrupted_and_by_what(
    number: signal.Signals, tmp_path: Path
) -> None:
    out, said = ended_by(number, start(tmp_path, "hang", "--json"))
    assert said == "error: interrupted\n"
    assert json.loads(out) == {"error": "interrupted"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_search_ends_in_good_order_and_prints_its_result(
    number: signal.Signals, tmp_path: Path
) -> None:
    out, said = ended_by(number, start(tmp_path, "search", "--seconds", "0", "--json"))
    assert said == "saving\nsaved\n"
    assert json.loads(out) == {"stopped_by": "interrupt"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_a_search_at_once(number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, "search", "--json")
    process.send_signal(number)
    read(process, "saving")
    time.sleep(TOGETHER_S + 0.1)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 128 + number
    assert said == "error: interrupted again: ended at once\n"
    assert "error" in json.loads(out)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_native_code_that_does_not_return_cannot_keep_a_start_from_ending(
    number: signal.Signals, tmp_path: Path
) -> None:
    out, said = ended_by(number, start(tmp_path, "stuck", "--json"))
    assert said == (
        "error: interrupted while Ray was starting: ended at once\nwhat was trained is kept\n"
    )
    assert "error" in json.loads(out)


def test_a_search_saves_when_its_terminal_is_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMANDS, "search", "--seconds", "0"]
    terminal = Terminal(command, tmp_path)
    terminal.wait_for("begun", LIMIT_S)
    terminal.close()
    assert terminal.process.wait(LIMIT_S) == 128 + signal.SIGHUP
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "log").read_text() == "in the log\n"


def test_a_command_ends_when_its_terminal_is_closed(tmp_path: Path) -> None:
    terminal = Terminal([sys.executable, "-c", COMMANDS, "hang"], tmp_path)
    terminal.wait_for("begun", LIMIT_S)
    terminal.close()
    assert terminal.process.wait(LIMIT_S) == 128 + signal.SIGHUP


def test_the_handlers_that_ray_replaces_as_it_starts_are_kept(
    handlers: list[Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    native, event, during = ctypes.pythonapi, threading.Event(), threading.Event()
    native.PyOS_getsig.restype = ctypes.c_void_p
    before = native.PyOS_getsig(signal.SIGTERM)

    def init(**_: object) -> None:
        """What Ray does: once through Python, once behind its back."""
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        native.PyOS_setsig(signal.SIGTERM, None)
        until = time.monotonic() + LIMIT_S
        while native.PyOS_getsig(signal.SIGTERM) is None and time.monotonic() < until:
            time.sleep(0.001)
        child = subprocess.Popen(["sleep", str(LIMIT_S)], start_new_session=True)
        os.killpg(child.pid, signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            while not event.is_set() and time.monotonic() < until:
                time.sleep(0.001)
        assert event.is_set()
        assert child.poll() is None  # a terminal that closes signals Ray's processes, too
        child.kill()
        child.wait()
        during.set()
        native.PyOS_setsig(signal.SIGTERM, None)

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    head = socket.create_server(("127.0.0.1", 0))
    context = SimpleNamespace(gcs_address=f"127.0.0.1:{head.getsockname()[1]}")
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    with head, interrupts(event), ray_session(1):
        assert during.is_set()
        event.clear()
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
    assert native.PyOS_getsig(signal.SIGTERM) == before


def test_the_handlers_are_kept_when_ray_has_ended(
    handlers: list[Handler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best model is written then: a signal must wait for it."""
    native, event = ctypes.pythonapi, threading.Event()
    native.PyOS_getsig.restype = ctypes.c_void_p
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: None)
    monkeypatch.setattr("ray.shutdown", lambda: native.PyOS_setsig(signal.SIGTERM, None))
    head = socket.create_server(("127.0.0.1", 0))
    context = SimpleNamespace(gcs_address=f"127.0.0.1:{head.getsockname()[1]}")
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    with head, interrupts(event):
        before = native.PyOS_getsig(signal.SIGTERM)
        with ray_session(1):
            pass
        assert native.PyOS_getsig(signal.SIGTERM) == before
        signal.raise_signal(signal.SIGTERM)
        assert event.is_set()


def test_a_search_in_a_thread_leaves_the_handlers_of_the_main_thread(
    handlers: list[Handler],
) -> None:
    native, got = ctypes.pythonapi, list[int]()
    native.PyOS_getsig.restype = ctypes.c_void_p
    signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    before, begun, go_on = native.PyOS_getsig(signal.SIGTERM), threading.Event(), threading.Event()

    def start() -> None:
        with handlers_kept():
            native.PyOS_setsig(signal.SIGTERM, None)  # as Ray does, behind Python's back
            begun.set()
            go_on.wait(LIMIT_S)

    thread = threading.Thread(target=start)
    thread.start()
    assert begun.wait(LIMIT_S)
    signal.signal(signal.SIGHUP, lambda number, frame: got.append(number))
    go_on.set()
    thread.join()
    assert native.PyOS_getsig(signal.SIGTERM) == before
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGTERM)
    assert got == [signal.SIGHUP, signal.SIGTERM]
