"""A place of its own for each test's token, and servers that end with their test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another place for this machine's token, with none in it."""
    place = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(place))
    return place


class Quiet(BaseHTTPRequestHandler):
    """Prints nothing of what it is asked."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up."""


@contextmanager
def serving(handler: type[Quiet], host: str) -> Iterator[ThreadingHTTPServer]:
    """Answer requests within this context, on any free port."""
    with _Server((host, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()
