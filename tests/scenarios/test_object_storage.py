"""A search on object storage: nodes pack for themselves, the head is lost, another takes over.

Storage is moto's S3 server, which answers as Amazon's does.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from dann_search.cli import main
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import RemoteFolder
from dann_search.study.study_names import NODES
from tests.drivers import (
    LIMIT_S,
    STARTS_AT_ONCE,
    kill_all,
    said,
    start,
    wait_for_epochs,
    wait_for_words,
)
from tests.experiments import space_file, study_trials, write_faults
from tests.json_output import failed, printed
from tests.ray_fixtures import INJECT

pytestmark = [pytest.mark.ray, pytest.mark.scenario]

URL = "s3://bucket/experiments/small"
IN_A_HURRY = """
from dataclasses import replace
from dann_search.storage import driver_lock
from dann_search.search import ray_session
driver_lock.BEAT_S, driver_lock.LOOK_S = 1.0, 2.4
ray_session.JOINED = replace(ray_session.JOINED, look_s=1.0, tell_s=3.0, end_s=9.0)
"""
"""A driver that waits less long for a head, or for the heartbeat of another driver."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server on the loopback with one bucket, named in the environment as users do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    port = endpoint.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    request = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < until, "no S3 server"
            time.sleep(0.2)
    yield
    # fsspec keeps file systems, and with them this server's address.
    fsspec.filesystem("s3").clear_instance_cache()
    server.kill()
    server.wait()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """A command in this process; its JSON object."""
    capsys.readouterr()
    code = main([*words, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, out + err
    return printed(words[0], out)


def completed(folder: ExperimentFolder) -> dict[int, tuple[float | None, datetime | None]]:
    """Value and end of each completed trial, by its number."""
    return {
        trial.number: (trial.value, trial.datetime_complete)
        for trial in study_trials(folder)
        if trial.state == TrialState.COMPLETE
    }


def test_a_search_on_object_storage_is_read_with_few_requests(
    tmp_path: Path,
    bucket: None,
    experiment: ExperimentFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from aiobotocore.httpsession import AIOHTTPSession

    send, requests = AIOHTTPSession.send, list[str]()

    async def counted(self: Any, request: Any) -> Any:
        requests.append(f"{request.method} {request.url}")
        return await send(self, request)

    monkeypatch.setattr(AIOHTTPSession, "send", counted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "laptop"))
    remote = RemoteFolder(URL, experiment.root)
    files = [path for path in experiment.root.rglob("*") if path.is_file()]
    remote.push([file.relative_to(experiment.root).as_posix() for file in files])
    counts = []
    for words in (("status", URL), ("status", URL), ("best", URL)):
        requests.clear()
        run(capsys, *words)
        counts.append(len(requests))
    status, again, best = counts
    assert (status, again) == (5, 3)
    assert best <= 28, requests  # with the pictures for TensorBoard, many of them at once


def test_a_search_on_object_storage_survives_the_loss_of_its_head(
    tmp_path: Path,
    bucket: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trials, epochs = 3, 3
    head = {"num_cpus": 0, "object_store_memory": 2**27, "include_dashboard": False}
    caches = {name: tmp_path / name for name in ("head", "node", "broken", "laptop")}
    # The first trial waits in its last epoch until it is said that the second gets stuck. (A copy
    # of a folder behind a URL is called by its reader, so the trial's number tells nothing.)
    faults, last = tmp_path / "faults.json", {"trial": "reader-0", "epoch": epochs, "times": 1}
    write_faults(faults, {**last, "kind": "hold"})
    # The nodes have disks of their own, and one of them cannot be written to.
    other = {
        "PYTHONPATH": f"{INJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "DANN_TEST_FAULTS": str(faults),
        "DANN_TEST_OTHER_DISK": str(caches["head"]),
    }
    monkeypatch.setenv(*STARTS_AT_ONCE)
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        good, broken = (
            cluster.add_node(
                num_cpus=1,
                object_store_memory=2**27,
                env_vars={**other, "XDG_CACHE_HOME": str(cache)},
            )
            for cache in (caches["node"], Path("/proc/no-disk"))
        )
        monkeypatch.setenv("XDG_CACHE_HOME", str(caches["head"]))
        path = space_file(
            tmp_path,
            storage="s3://bucket/experiments",
            search__trials=trials,
            training__epochs=epochs,
        )
        local = RemoteFolder.of(URL).local
        words = ("launch", str(path), "--address", cluster.address)
        driver = start(tmp_path, *words, first=IN_A_HURRY)
        wait_for_epochs(ExperimentFolder(local), epochs - 1, driver)
        stuck = {"trial": "reader-0", "epoch": 2, "kind": "stall", "times": 1}
        faults.write_text(json.dumps([{**last, "kind": "hold"}, stuck]))
        faults.with_name(f"{faults.name}.go").touch()
        wait_for_epochs(ExperimentFolder(local), epochs + 1, driver)
        wait_for_words(local / "ray" / "driver.log", "is set aside", driver)
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        # The driver lives on, until it sees that nobody answers.
        out, _ = driver.communicate(timeout=LIMIT_S)
        assert driver.returncode == 1
        assert out, said(tmp_path)
        assert f"continue with: dann-search resume {URL}" in failed("launch", out)
        kill_all(driver, str(tmp_path))
        assert list((caches["node"] / "dann-search" / "stores").glob("*/store.json"))
        log = (local / "ray" / "driver.log").read_text(errors="replace")
        assert "/proc/no-disk" in log and "is set aside" in log
        assert broken.node_id[:6] in log
    finally:
        cluster.shutdown()

    # Another machine, which has nothing but access to the storage, and no cluster.
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches["laptop"]))
    shutil.rmtree(caches["head"])
    # From here nobody knows that the driver is gone before its heartbeat is old.
    monkeypatch.setattr("dann_search.storage.driver_lock.FRESH_S", LIMIT_S)
    assert run(capsys, "status", URL)["searching"]
    monkeypatch.setattr("dann_search.storage.driver_lock.FRESH_S", 0.0)
    interrupted = run(capsys, "status", URL)
    assert not interrupted["searching"]
    assert interrupted["running"] == 1
    finished = completed(ExperimentFolder(RemoteFolder.of(URL).local))
    assert list(finished) == [0]
    one_at_once = ("--set", "resources.max_parallel_trials=1")
    driver = start(tmp_path, "resume", URL, *one_at_once, first=IN_A_HURRY)
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, out + said(tmp_path)
    resumed = printed("resume", out)
    assert resumed["trials"] == {"completed": trials, "pruned": 0, "failed": 0}
    folder = ExperimentFolder(RemoteFolder.of(URL).local)
    assert completed(folder).items() > finished.items()
    found = study_trials(folder)
    for trial in found:
        assert list(trial.intermediate_values) == list(range(1, epochs + 1))
    assert {good.node_id} < {node for trial in found for node in trial.user_attrs[NODES]}

    # A third one, which only reads.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "reader"))
    monkeypatch.chdir(tmp_path)
    rows = run(capsys, "leaderboard", URL)["trials"]
    assert rows[0]["trial"] == resumed["best"]["trial"]
    written = run(capsys, "best", URL, "--rank", "2", "--out", "second")
    assert written["trial"] == rows[1]["trial"]
    tested = run(capsys, "evaluate", URL)
    assert tested["n"] == 215
