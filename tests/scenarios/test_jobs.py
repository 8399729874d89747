"""A search as a job on a head with token authentication: its client is killed, another attaches."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dann_search.cli import main
from tests.drivers import LIMIT_S, STARTS_AT_ONCE, folder_of_ray, kill_marked, said, start
from tests.experiments import space_file
from tests.json_output import printed

pytestmark = [pytest.mark.ray, pytest.mark.scenario]


def answer(url: str) -> int | None:
    """HTTP status of who asks without a token; None where nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return None


def run(command: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Ray reads a process's token once."""
    line = [sys.executable, "-m", "dann_search.cli", command, str(folder), *words, "--json"]
    return subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray head as ``ray start`` makes it, its token in the home of this test's user."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv(*STARTS_AT_ONCE)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    subprocess.run([*ray, "get-auth-token", "--generate"], check=True, capture_output=True)
    ports = []
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    url = f"http://127.0.0.1:{ports[1]}"
    place = folder_of_ray()
    process = subprocess.Popen(
        [
            *ray, "start", "--head", "--block", f"--port={ports[0]}", "--num-cpus=1",
            f"--temp-dir={place.name}",
            "--dashboard-host=127.0.0.1", f"--dashboard-port={ports[1]}",
            # The default may be taken: another Ray of these tests is on this machine.
            f"--dashboard-agent-listen-port={ports[2]}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "DANN_TEST_MARK": f"{tmp_path}-head"},
        start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 300
    while answer(f"{url}/api/version") is None:
        assert time.monotonic() < until, "the head does not answer"
        time.sleep(0.5)
    yield url
    process.send_signal(signal.SIGKILL)
    process.wait()
    kill_marked(f"{tmp_path}-head")
    place.cleanup()


def test_a_job_outlives_its_client_and_is_followed_and_stopped_by_others(
    head: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(f"{head}/api/version") == 401  # who has no token is told nothing
    path = space_file(tmp_path, search__trials=2, training__epochs=2)
    client = start(tmp_path, "launch", str(path), "--address", head)
    folder = tmp_path / "runs" / "small"
    until = time.monotonic() + 300
    while "submitted as job" not in said(tmp_path):  # job.json is there before
        assert client.poll() is None and time.monotonic() < until, said(tmp_path)
        time.sleep(0.1)
    client.kill()
    client.wait()
    again = run("launch", path, "--address", head, "--detach")
    assert again.returncode == 2 and "already" in again.stderr, again.stderr

    attached = run("attach", folder)
    assert attached.returncode == 0, attached.stderr
    result = printed("attach", attached.stdout)
    assert result["trials"] == {"completed": 2, "pruned": 0, "failed": 0}
    assert "trial 1 completed after 2 of 2 epochs" in attached.stderr
    assert (folder / "best" / "model.safetensors").exists()

    # Gone on with by another job, which is stopped from here.
    more = run("resume", folder, "--add-trials", "500", "--address", head, "--detach")
    assert more.returncode == 0, more.stderr
    assert printed("resume", more.stdout)["address"] == head
    until = time.monotonic() + 300
    while main(["stop", str(folder), "--json"]) != 0:
        assert "nothing searches it" in capsys.readouterr().err  # not yet: Ray starts the job
        assert time.monotonic() < until
        time.sleep(0.2)
    assert printed("stop", capsys.readouterr().out)["stopped"]
    attached = run("attach", folder)
    assert attached.returncode == 130
    assert printed("attach", attached.stdout)["stopped_by"] == "interrupt"


def test_an_address_where_no_job_server_answers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = space_file(tmp_path)
    assert main(["launch", str(path), "--address", "http://127.0.0.1:9"]) == 2
    assert "no Ray job server answers there" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
