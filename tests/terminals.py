"""Commands run in a terminal of their own, which can be read and closed."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import threading
from collections.abc import Sequence
from pathlib import Path


class Terminal:
    """A pseudo-terminal and the command that runs in it, as the leader of its session.

    Attributes:
        process: the command.
    """

    def __init__(self, command: Sequence[str], cwd: Path | None = None, **environment: str):
        self._master, slave = pty.openpty()
        self._read: list[bytes] = []
        self._ready = threading.Condition()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        read = b"?"
        while read and not self._closed.is_set():
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                read = os.read(self._master, 65536)
            except OSError:  # the last process of the terminal has ended
                read = b""
            with self._ready:
                self._read.append(read)
                self._ready.notify_all()
        os.close(self._master)

    def close(self) -> None:
        """Hang up: the command gets SIGHUP, and can write no more."""
        self._closed.set()
        self._thread.join()

    @property
    def text(self) -> str:
        """What was shown so far."""
        return b"".join(self._read).decode()

    def wait_for(self, words: str, timeout_s: float) -> None:
        """Until the terminal shows the words."""
        with self._ready:
            shown = self._ready.wait_for(lambda: words in self.text, timeout_s)
        assert shown, self.text

    def wait(self, timeout_s: float) -> str:
        """Until the command has ended; everything it showed."""
        self.process.wait(timeout_s)
        self._thread.join(timeout_s)
        return self.text
