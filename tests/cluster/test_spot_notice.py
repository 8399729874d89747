"""The clouds' notices, from a server that answers as their metadata services document."""

import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dann_search.cluster import spot_notice
from tests.cluster.conftest import Quiet, serving


@pytest.fixture
def cloud() -> Iterator[Any]:
    """Takes the node at the third question; refuses what comes without the headers asked for.

    ``faults`` are what it does, one a question, before it answers well.
    """

    class Metadata(Quiet):
        asked = 0
        faults: tuple[Callable[[Any], object], ...] = ()

        def answer(self, status: int, text: str = "") -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def do_PUT(self) -> None:
            known = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.answer(200 if known and self.path == "/latest/api/token" else 400, "session")

        def do_GET(self) -> None:
            if self.faults:
                fault, type(self).faults = self.faults[0], self.faults[1:]
                if not self.faults:  # from here on, a slow machine is no fault
                    spot_notice.ANSWER_S = 60.0
                fault(self)
                return
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

    with serving(Metadata, "127.0.0.1") as server:
        yield server


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
    for taken in (spot_notice.aws_takes_it, spot_notice.gcp_takes_it):
        with pytest.raises(OSError, match="Connection refused"):
            taken()


def cut_off(request: Any) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100")
    request.end_headers()
    request.wfile.write(b'{"action"')


FAULTS: dict[str, Callable[[Any], object]] = {
    "no answer in time": lambda request: time.sleep(1.0),
    "hung up": lambda request: request.connection.close(),
    "server error": lambda request: request.answer(500, "internal"),
    "expired token": lambda request: request.answer(401),
    "too many requests": lambda request: request.answer(429),
    "no HTTP": lambda request: request.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "cut off": cut_off,
    "no UTF-8": lambda request: (request.send_response(200), request.end_headers(),
                                 request.wfile.write(b"\xff\xfe")),
    "another page": lambda request: request.answer(200, "<html>log in</html>"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["aws", "gcp"])
def test_a_watch_outlives_questions_that_fail_and_says_so_once(
    cloud: Any,
    kind: str,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host = f"127.0.0.1:{cloud.server_port}"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{host}/")
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    monkeypatch.setattr(spot_notice, "ANSWER_S", 0.2 if fault == "no answer in time" else 60.0)
    cloud.RequestHandlerClass.faults = (FAULTS[fault],) * 3
    told: list[int] = []
    taken = {"aws": spot_notice.aws_takes_it, "gcp": spot_notice.gcp_takes_it}[kind]
    spot_notice.watch(taken, lambda: told.append(1), look_s=0.0)
    assert told == [1]
    assert cloud.RequestHandlerClass.asked >= 3  # failures took no node
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, said
    assert "asked again" in said[0] and "answers again" in said[1]


def test_a_proxy_is_not_asked_for_what_the_machine_itself_is_told(
    cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{cloud.server_port}")
    spot_notice.watch(spot_notice.gcp_takes_it, lambda: None, look_s=0.0)
    assert cloud.RequestHandlerClass.asked == 3


@pytest.mark.parametrize(
    "failure",
    [subprocess.CalledProcessError(1, "ray"), subprocess.TimeoutExpired("ray", 5), OSError("fork")],
)
def test_ray_is_told_again_where_it_did_not_listen(
    failure: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    tries: list[int] = []

    def tell() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise failure

    spot_notice.watch(lambda: True, tell, look_s=0.0)
    assert len(tries) == 3
    assert "told again" in capsys.readouterr().err


def test_an_unknown_cloud_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert spot_notice.main(["azure"]) == 2
    assert "aws|gcp|now" in capsys.readouterr().err
