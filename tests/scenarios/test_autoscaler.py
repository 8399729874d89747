"""An autoscaler brings nodes because trials wait for them, and takes them when nothing does.

Ray's own autoscaler, with its provider for tests: a node is a raylet on this machine.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_names import NODES
from tests.drivers import (
    LIMIT_S,
    STARTS_AT_ONCE,
    folder_of_ray,
    kill_marked,
    marked,
    said,
    start,
    wait_for_epochs,
)
from tests.experiments import space_file, study_trials, write_faults
from tests.json_output import printed
from tests.ray_fixtures import INJECT

pytestmark = [pytest.mark.ray, pytest.mark.scenario]

MOST_NODES = 2


def autoscaler(port: int) -> dict[str, Any]:
    """Nodes of one CPU, none to begin with."""
    return {
        "cluster_name": "fake",
        "max_workers": MOST_NODES,
        "idle_timeout_minutes": 0.25,  # more than a group takes to claim a node
        "upscaling_speed": 10,
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": f"127.0.0.1:{port}",
        },
        "available_node_types": {
            "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1, "object_store_memory": 2**27},
                "node_config": {},
                "min_workers": 0,
                "max_workers": MOST_NODES,
            },
        },
        "head_node_type": "ray.head.default",
        **{key: {} for key in ("docker", "auth", "file_mounts")},
        **{
            key: []
            for key in (
                *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
                *("initialization_commands", "setup_commands", "head_setup_commands"),
                *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
            )
        },
        "file_mounts_sync_continuously": False,
    }


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Address of a head without CPUs, and the mark of all processes that come of it."""
    monkeypatch.setenv(*STARTS_AT_ONCE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, mark = tmp_path / "autoscaler.json", f"{tmp_path}-head"
    config.write_text(json.dumps(autoscaler(port)))
    place = folder_of_ray()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *(
                f"--port={port}",
                f"--temp-dir={place.name}",
                "--num-cpus=0",
                "--include-dashboard=false",
            ),
            *("--node-ip-address=127.0.0.1", f"--autoscaling-config={config}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "RAY_AUTH_MODE": "disabled",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "DANN_TEST_MARK": mark,
            "DANN_TEST_FAULTS": str(tmp_path / "faults.json"),
            "PYTHONPATH": f"{INJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        },
        start_new_session=True,
    )
    until = time.monotonic() + LIMIT_S
    while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
        assert process.poll() is None and time.monotonic() < until, "the head does not answer"
        time.sleep(0.2)
    yield f"127.0.0.1:{port}", mark
    process.send_signal(signal.SIGKILL)
    process.wait()
    kill_marked(mark)
    place.cleanup()


def raylets(mark: str) -> int:
    """Nodes that run, the head's among them."""
    count = 0
    for pid in marked(mark):
        try:
            count += psutil.Process(pid).name() == "raylet"
        except psutil.NoSuchProcess:
            continue
    return count


def test_nodes_come_for_trials_that_wait_and_go_when_none_does(
    head: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, mark = head
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    folder = ExperimentFolder(tmp_path / "runs" / "small")
    path = space_file(tmp_path, search__trials=3, training__epochs=2)
    # The first trial of each node waits in its second epoch, until all nodes have come.
    faults, held = tmp_path / "faults.json", range(MOST_NODES)
    write_faults(faults, *({"trial": str(n), "epoch": 2, "kind": "hold", "times": 1} for n in held))
    driver = start(tmp_path, "launch", str(path), "--address", address)
    wait_for_epochs(folder, len(held), driver)
    faults.with_name(f"{faults.name}.go").touch()
    out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, out + said(tmp_path)
    assert printed("launch", out)["trials"] == {"completed": 3, "pruned": 0, "failed": 0}
    trials = study_trials(folder)
    used = {node for trial in trials for node in trial.user_attrs[NODES]}
    assert len(used) == MOST_NODES
    until = time.monotonic() + LIMIT_S
    while raylets(mark) > 1 and time.monotonic() < until:
        time.sleep(1)
    assert raylets(mark) == 1
