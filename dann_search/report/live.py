"""The report while it grows: served on the loopback, read anew as a search continues."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from html import escape
from wsgiref.types import StartResponse, WSGIEnvironment

from dann_search.errors import InputError
from dann_search.report.write import check_installed
from dann_search.results.lines import headline
from dann_search.results.loopback import loopback_server
from dann_search.results.status import snapshot
from dann_search.storage.layout import ExperimentFolder

REFRESH_S = 10
"""Seconds after which a browser asks again, while the search runs."""
HOSTS = ("127.0.0.1", "localhost")
"""Names under which a page is given: no other site's name may be made to lead here."""
BEFORE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{name}</title>
<meta name="color-scheme" content="light dark">{refresh}<h1>{name}</h1>
<p>{state}</p><p>The page fills when the first trial is over.</p>"""


class GrowingPage:
    """The page of an experiment as it stands, made at most once for all who ask within a while."""

    def __init__(self, folder: ExperimentFolder):
        self.folder, self.lock = folder, threading.Lock()
        self.page, self.due = b"", 0.0

    def current(self) -> bytes:
        """Return the page; it refreshes itself until the search ends."""
        with self.lock:
            if time.monotonic() >= self.due:
                self.page = self._made().encode()
                self.due = time.monotonic() + REFRESH_S / 2
            return self.page

    def _made(self) -> str:
        from dann_search.report.content import gather
        from dann_search.report.page import render

        taken = snapshot(self.folder)
        refresh = REFRESH_S if taken.status.searching else None
        try:
            content = gather(self.folder, lambda line: None, run_model=False)
        except InputError:  # no trial is over yet
            again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
            name, state = escape(taken.status.name), escape(headline(taken))
            return BEFORE.format(name=name, refresh=again, state=state)
        return render(content, datetime.now().strftime("%H:%M:%S"), refresh)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        """Answer a request: the page alone, and to those alone who ask for the loopback."""
        host = str(environ.get("HTTP_HOST", "")).rsplit(":", 1)[0]
        if host not in HOSTS or environ["PATH_INFO"] != "/":
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found\n"]
        page = self.current()
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
        start("200 OK", headers)
        return [page]


def serve_live(
    folder: ExperimentFolder, port: int, ready: Callable[[str], None], ended: Callable[[], None]
) -> None:
    """Serve the page on the loopback until interrupted.

    Args:
        folder: the experiment.
        port: 0 for any free one.
        ready: called with the address as soon as it answers.
        ended: called once the search is over; the page stays.

    Raises:
        InputError: what draws is not installed.
        RunError: the port is taken.
    """
    check_installed()

    def tell_the_end() -> None:
        while snapshot(folder).status.searching:
            time.sleep(REFRESH_S / 2)
        ended()

    with loopback_server(GrowingPage(folder), port) as server:
        ready(f"http://127.0.0.1:{server.server_port}/")
        threading.Thread(target=tell_the_end, daemon=True).start()
        server.serve_forever()
