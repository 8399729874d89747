"""Ctrl-C, SIGTERM and SIGHUP: the first asks for an orderly end, a later one ends the process."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dann_search.search.fatal_exit import end_now

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OF_TERMINALS = (signal.SIGINT, signal.SIGHUP)
TOGETHER_S = 0.5
"""Signals this close to the first only repeat it.

``timeout`` sends SIGTERM twice; when a terminal closes, its shell and the kernel send a SIGHUP
each; systemd may send SIGHUP after SIGTERM.
"""
LOOK_S = 0.01
"""How long a handler that ``ray.init`` put in the place of ours may stay there."""
PATIENCE_S = 5.0
"""How long native code may keep the main thread from seeing that it is to end at once."""
INTERRUPTED = 128 + signal.SIGINT


class Received:
    """The first signal that a command received.

    Attributes:
        number: of the signal; None before there was one.
        at: when it came, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.at = 0.0

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells have it; as after Ctrl-C where there was none."""
        return INTERRUPTED if self.number is None else 128 + self.number


_commands: list[Received] = []
_at_once: list[threading.Event] = []
"""Blocks in which signals raise as well, beside that."""


def exit_code_at_failure() -> int:
    """Return the exit code of a command that cannot continue: 1, or of the signal it received."""
    received = _commands[-1] if _commands else Received()
    return 1 if received.number is None else received.exit_code


@contextmanager
def command_signals() -> Iterator[Received]:
    """Raise KeyboardInterrupt on the first signal within this block, whichever of the three it is.

    A later one, also within ``interrupts``, ends the process at once.
    """

    def interrupt() -> None:
        raise KeyboardInterrupt

    received = Received()
    _commands.append(received)
    try:
        with _handlers(received, interrupt):
            yield received
    finally:
        _commands.pop()


@contextmanager
def interrupts(event: threading.Event) -> Iterator[threading.Event]:
    """Set the event on the first signal within this block, and leave it to the block to look.

    A later signal goes to the handlers that were there before, which are back after the block.
    """
    received = _commands[-1] if _commands else Received()

    def note() -> None:
        event.set()
        if _at_once:
            raise KeyboardInterrupt

    with _handlers(received, note):
        if received.number is not None:  # some import swallowed its KeyboardInterrupt
            event.set()
        yield event


@contextmanager
def at_once(kept: str = "") -> Iterator[None]:
    """Raise KeyboardInterrupt in this block on a signal that ``interrupts`` only notes.

    One that the command received before counts, too. Native code that keeps the main thread from
    seeing it for ``PATIENCE_S`` seconds ends the process, which then says what is ``kept``. In
    other threads than the main one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    done, (heard, told) = threading.Event(), os.pipe()
    os.set_blocking(told, False)
    thread = threading.Thread(target=_end_late, args=(heard, done, kept), daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(told)
    _at_once.append(done)
    try:
        if _commands and _commands[-1].number is not None:
            raise KeyboardInterrupt
        yield
    finally:
        _at_once.remove(done)
        signal.set_wakeup_fd(before)
        done.set()
        os.close(told)
        thread.join()
        os.close(heard)


def _end_late(heard: int, done: threading.Event, kept: str) -> None:
    """End the process if a signal that Python tells on a pipe has not ended a block in time."""
    while number := os.read(heard, 1):
        if number[0] in SIGNALS and not done.wait(PATIENCE_S):
            said = f"interrupted while Ray was starting: ended at once\n{kept}".rstrip()
            end_now(said, 128 + number[0])


@contextmanager
def _handlers(received: Received, first: Callable[[], object]) -> Iterator[None]:
    """Handle signals for the time of the block, except those that are ignored, as under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {n: one for n, one in handlers.items() if one not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: Any) -> None:
        if received.number is None:
            received.number, received.at = number, time.monotonic()
            first()
        elif time.monotonic() - received.at > TOGETHER_S:
            restore()
            if received in _commands:
                # In a thread: this one may hold what the end needs, such as the console's lock.
                words = ("interrupted again: ended at once", received.exit_code)
                threading.Thread(target=end_now, args=words, daemon=True).start()
            else:
                signal.raise_signal(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


@contextmanager
def interrupted_with(message: str) -> Iterator[None]:
    """Give a KeyboardInterrupt of the block a message that says what to do next."""
    try:
        yield
    except KeyboardInterrupt as exc:
        raise exc if exc.args else KeyboardInterrupt(message) from None


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep the handlers of signals while ``ray.init`` or ``ray.shutdown`` runs in this block.

    The first replaces that of SIGTERM twice: through ``signal.signal`` by one that calls
    ``sys.exit``, and, unseen by Python, by one that aborts the process. The second puts, unseen as
    well, the system's own in its place, which ends the process.

    What is started within the block ignores Ctrl-C and a terminal that closes, which go to all
    processes of the terminal: without Ray's own no trial could be saved. SIGTERM it needs, for
    ``ray.shutdown`` ends it so.
    """
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.argtypes, get.restype = [ctypes.c_int], ctypes.c_void_p
    put.argtypes, put.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    native = {number: (signal.getsignal(number), get(number)) for number in SIGNALS}
    replaced, done = signal.signal, threading.Event()

    def put_back() -> None:
        for number, (known, handler) in native.items():
            if signal.getsignal(number) is known:  # else the main thread set another meanwhile
                put(number, handler)

    def watch() -> None:  # a signal may come before the block ends
        while not done.wait(LOOK_S):
            put_back()

    thread = threading.Thread(target=watch, daemon=True)
    if threading.current_thread() is threading.main_thread():  # in others Ray does not call it
        signal.signal = lambda number, handler: signal.getsignal(number)  # type: ignore[assignment]
    thread.start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINALS)  # inherited by children
    try:
        yield
    finally:
        done.set()
        thread.join()
        put_back()
        signal.signal = replaced
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
