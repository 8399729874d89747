"""The clouds' notices, from a server that answers as their metadata services are documented to."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dann_search.search import spot_notice


@pytest.fixture
def cloud() -> Iterator[Any]:
    """Takes the node at the third question; refuses what comes without the headers asked for."""

    class Metadata(BaseHTTPRequestHandler):
        asked = 0

        def answer(self, status: int, text: str = "") -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def do_PUT(self) -> None:
            known = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.answer(200 if known and self.path == "/latest/api/token" else 400, "session")

        def do_GET(self) -> None:
            type(self).asked += 1
            taken = type(self).asked >= 3
            if self.path == "/latest/meta-data/spot/instance-action":
                if self.headers["X-aws-ec2-metadata-token"] != "session":
                    self.answer(401)
                else:
                    action = '{"action": "terminate", "time": "2026-01-01T00:00:00Z"}'
                    self.answer(200, action) if taken else self.answer(404)
            elif self.path == "/computeMetadata/v1/instance/preempted":
                if self.headers["Metadata-Flavor"] != "Google":
                    self.answer(403)
                else:
                    self.answer(200, "TRUE" if taken else "FALSE")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["aws", "gcp"])
def test_ray_is_told_once_when_the_cloud_takes_the_node(
    cloud: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"127.0.0.1:{cloud.server_port}"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{host}/")
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    told: list[int] = []
    taken = {"aws": spot_notice.aws_takes_it, "gcp": spot_notice.gcp_takes_it}[kind]
    spot_notice.watch(taken, lambda: told.append(1), look_s=0.0)
    assert told == [1]
    assert cloud.RequestHandlerClass.asked == 3


def test_a_metadata_service_that_is_not_there_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    assert not spot_notice.aws_takes_it()
    assert not spot_notice.gcp_takes_it()


def test_an_unknown_cloud_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert spot_notice.main(["azure"]) == 2
    assert "aws|gcp|now" in capsys.readouterr().err
