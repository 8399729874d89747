"""The report while it grows, asked over HTTP on the loopback."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dann_search.cli import main
from dann_search.report.live import GrowingPage
from dann_search.results.loopback import loopback_server
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder


@contextmanager
def served(folder: ExperimentFolder) -> Iterator[str]:
    with loopback_server(GrowingPage(folder), 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def page(url: str, host: str | None = None) -> str:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def test_the_page_shows_the_reports_parts_and_refreshes_while_it_is_searched(
    experiment: ExperimentFolder,
) -> None:
    with DriverLock(experiment), served(experiment) as url:
        text = page(url)
    assert 'http-equiv="refresh"' in text
    for plot in ("history", "epochs", "parallel_coordinates"):
        assert f'data-plot="{plot}"' in text
    assert 'id="leaderboard"' in text


def test_the_page_of_a_search_that_ended_stays_as_it_is(searched: ExperimentFolder) -> None:
    with served(searched) as url:
        assert 'http-equiv="refresh"' not in page(url)


def test_only_the_page_is_given_and_only_to_the_loopback(searched: ExperimentFolder) -> None:
    with served(searched) as url:
        for place, host in ((f"{url}etc/passwd", None), (url, "elsewhere.example")):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                page(place, host)


def test_a_port_that_is_taken_is_named(
    searched: ExperimentFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(searched) as url:
        port = url.rsplit(":", 1)[1].strip("/")
        assert main(["watch", str(searched.root), "--serve", "--port", port]) == 1
    assert f"port {port}: " in capsys.readouterr().err
