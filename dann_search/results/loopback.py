"""A web server for this machine's own browsers, and optuna-dashboard on it."""

import importlib.util
import socketserver
from collections.abc import Callable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import WSGIApplication

from dann_search.errors import InputError, RunError
from dann_search.results.reader import read_experiment
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_storage import find_study, opened, study_place


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing per request."""


def loopback_server(application: WSGIApplication, port: int) -> WSGIServer:
    """Return a server on the loopback, a thread for each request; it answers once it is run.

    ``port`` 0 takes any free one.

    Raises:
        RunError: the port is taken.
    """
    try:
        return make_server("127.0.0.1", port, application, _Server, _Quiet)
    except OSError as exc:
        raise RunError(f"port {port}: {exc.strerror}; try another with --port") from None


def serve_dashboard(folder: ExperimentFolder, port: int, ready: Callable[[str], None]) -> None:
    """Serve the study on the loopback until interrupted; call ``ready`` with the study's place.

    Raises:
        InputError: optuna-dashboard is not installed, or there is no study yet.
        RunError: the port is taken.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError("optuna-dashboard is missing: pip install 'dann-search[dashboard]'")
    experiment = read_experiment(folder)
    place = study_place(folder, experiment.search.study)
    if not place.exists(experiment.name):
        raise InputError(f"{folder.root}: no study yet; launch or resume the search first")
    from optuna_dashboard import wsgi

    with opened(place) as storage:
        find_study(storage, place, experiment.name, folder)
        with loopback_server(wsgi(storage), port) as server:
            ready(place.shown)
            server.serve_forever()
