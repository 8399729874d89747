"""A web server for this machine's own browsers: on the loopback, a thread for each request."""

import socketserver
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

from dann_search.errors import RunError


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing per request."""


def loopback_server(application: WSGIApplication, port: int) -> WSGIServer:
    """Return a server that answers once it is run; ``port`` 0 takes any free one.

    Raises:
        RunError: the port is taken.
    """
    try:
        return make_server("127.0.0.1", port, application, _Server, _Quiet)
    except OSError as exc:
        raise RunError(f"port {port}: {exc.strerror}; try another with --port") from None
