"""Ctrl-C and termination signals as an event that a search looks at."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts(event: threading.Event) -> Iterator[threading.Event]:
    """The event, set by Ctrl-C or a termination signal; a second Ctrl-C ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def handle(kind: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for kind in kinds:
        signal.signal(kind, handle)
    try:
        yield event
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
