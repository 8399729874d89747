"""A search on object storage: nodes pack for themselves, the head is lost, another machine goes on.

Storage is moto's S3 server, which answers as Amazon's does.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from dann_search.layout import ExperimentFolder
from dann_search.remote_folder import RemoteFolder
from dann_search.study_names import NODES
from tests.drivers import LIMIT_S, kill_all, said, start, wait_for_epochs
from tests.experiments import space_file, study_trials
from tests.json_output import failed, printed
from tests.ray_fixtures import INJECT

pytestmark = [pytest.mark.ray, pytest.mark.scenario]

URL = "s3://bucket/experiments/small"


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
    server.kill()
    server.wait()


def run(tmp_path: Path, *words: str) -> dict[str, Any]:
    """A command in a process of its own; its JSON object."""
    process = start(tmp_path, *words)
    out, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, out
    return printed(words[0], out)


def test_a_search_on_object_storage_survives_the_loss_of_its_head(
    tmp_path: Path, bucket: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = {"num_cpus": 0, "object_store_memory": 2**27, "include_dashboard": False}
    caches = {name: tmp_path / name for name in ("head", "node", "broken", "laptop")}
    # The nodes have disks of their own, and one of them cannot be written to.
    other = {"PYTHONPATH": f"{INJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    other["DANN_TEST_OTHER_DISK"] = str(caches["head"])
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        good, broken = (
            cluster.add_node(
                num_cpus=2,
                object_store_memory=2**27,
                env_vars={**other, "XDG_CACHE_HOME": str(cache)},
            )
            for cache in (caches["node"], Path("/proc/no-disk"))
        )
        monkeypatch.setenv("XDG_CACHE_HOME", str(caches["head"]))
        path = space_file(
            tmp_path, storage="s3://bucket/experiments", search__trials=6, training__epochs=4
        )
        local = RemoteFolder.of(URL).local
        driver = start(tmp_path, "launch", str(path), "--address", cluster.address)
        wait_for_epochs(ExperimentFolder(local), 9, driver)
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        # The driver lives on, until it sees that nobody answers.
        out, _ = driver.communicate(timeout=LIMIT_S)
        assert driver.returncode == 1
        assert out, said(tmp_path)
        assert f"go on with: dann-search resume {URL}" in failed("launch", out)
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
    until = time.monotonic() + LIMIT_S
    # From here nobody knows that the driver is gone before its heartbeat is old.
    while (interrupted := run(tmp_path, "status", URL))["searching"]:
        assert time.monotonic() < until
    assert interrupted["running"] > 0
    finished = {
        trial.number: (trial.value, trial.datetime_complete)
        for trial in study_trials(ExperimentFolder(RemoteFolder.of(URL).local))
        if trial.state == TrialState.COMPLETE
    }
    resumed = run(tmp_path, "resume", URL)
    assert resumed["trials"] == {"completed": 6, "pruned": 0, "failed": 0}
    trials = study_trials(ExperimentFolder(RemoteFolder.of(URL).local))
    after = {trial.number: (trial.value, trial.datetime_complete) for trial in trials}
    assert {number: after[number] for number in finished} == finished
    for trial in trials:
        assert list(trial.intermediate_values) == [1, 2, 3, 4]
    assert {good.node_id} < {node for trial in trials for node in trial.user_attrs[NODES]}

    # A third one, which only reads.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "reader"))
    rows = run(tmp_path, "leaderboard", URL)["trials"]
    assert rows[0]["trial"] == resumed["best"]["trial"]
    written = run(tmp_path, "best", URL, "--rank", "2", "--out", "second")
    assert written["trial"] == rows[1]["trial"]
    tested = run(tmp_path, "evaluate", URL)
    assert tested["n"] == 215
