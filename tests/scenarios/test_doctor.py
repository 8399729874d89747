"""The doctor on a cluster of three real nodes: one healthy, one with another torch, the head."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dann_search.search.authentication import close_token_file
from tests.experiments import space_file
from tests.json_output import printed

pytestmark = [pytest.mark.ray, pytest.mark.scenario]

ROOT = Path(__file__).parents[2]
IN_A_HURRY = """
import sys
from dann_search.cluster.doctor import all_reduce, cluster, judge
from dann_search.cluster.doctor.run import examine
judge.LOOK_S = cluster.CLOCK_S = judge.STORAGE_S = 8
report = examine(sys.argv[1], storage=sys.argv[2])
print(report.model_dump_json())
"""
"""The doctor with less patience, so that a test of a node that does not answer is short."""


@dataclass
class ThreeNodes:
    """The cluster and the names by which the doctor tells its nodes apart."""

    cluster: Any
    healthy: Any
    odd: Any

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def name(self, node: Any) -> str:
        return f"{socket.gethostname()}/{node.node_id[:6]}"


@pytest.fixture(scope="module")
def nodes() -> Iterator[ThreeNodes]:
    before = os.environ.get("RAY_AUTH_MODE")
    os.environ["RAY_AUTH_MODE"] = "token"
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._raylet import Config  # type: ignore[attr-defined]
    from ray.cluster_utils import Cluster

    Config.initialize("")
    close_token_file()
    ensure_token_if_auth_enabled()
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
    path = os.pathsep.join([str(Path(__file__).parent / "inject"), str(ROOT)])
    another = {"PYTHONPATH": path, "DANN_TEST_TORCH_VERSION": "2.99.0"}
    try:
        healthy = cluster.add_node(num_cpus=2)
        odd = cluster.add_node(num_cpus=2, num_gpus=1, env_vars=another)
        yield ThreeNodes(cluster, healthy, odd)
    finally:
        cluster.shutdown()
        if before is None:
            del os.environ["RAY_AUTH_MODE"]
        else:
            os.environ["RAY_AUTH_MODE"] = before


def run(*command: str, **environment: str) -> tuple[int, dict[str, Any]]:
    # Who has a token need not say that it is to be used.
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    done = subprocess.run(
        [sys.executable, *command],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return done.returncode, printed("doctor", done.stdout)


def doctor(*words: str, **environment: str) -> tuple[int, dict[str, Any]]:
    return run("-m", "dann_search.cli", "doctor", *words, "--json", **environment)


def test_all_nodes_are_checked_and_one_with_another_torch_is_red(
    nodes: ThreeNodes, tmp_path: Path
) -> None:
    words = ["--address", nodes.address, "--nodes", "4", "--space", str(space_file(tmp_path))]
    code, report = doctor(*words)
    assert code == 1 and report["not_checked"] == []
    checks = report["checks"]
    red = {(check["name"], check["node"]) for check in checks if not check["ok"]}
    odd = nodes.name(nodes.odd)
    # That node also says that it has a GPU, which no driver shows.
    assert red == {("versions", odd), ("GPUs", odd), ("nodes", "cluster")}
    (version,) = (c for c in checks if c["name"] == "versions" and not c["ok"])
    assert "torch 2.99.0, the driver has" in version["found"]
    (gpus,) = (check for check in checks if check["name"] == "GPUs" and not check["ok"])
    assert gpus["found"] == "torch sees 0, Ray offers 1"
    assert all(bool(check["remedy"]) is not check["ok"] for check in checks)
    for name in ("GPUs", "token file", "shared memory", "free disk", "clock", "storage", "data"):
        assert sum(check["name"] == name for check in checks) == 3, name
    summed = [check["found"] for check in checks if check["name"] == "gloo all-reduce"]
    assert summed == ["over 3 nodes"] * 3
    assert any(check["name"] == "token authentication" and check["ok"] for check in checks)
    assert not (tmp_path / "runs").exists()


def test_what_no_node_can_reach_or_write_is_red_on_each(nodes: ThreeNodes, tmp_path: Path) -> None:
    space = space_file(tmp_path, data__source={"folder": str(tmp_path / "gone")})
    (tmp_path / "file").touch()
    words = ["--address", nodes.address, "--space", str(space)]
    code, report = doctor(*words, "--storage", str(tmp_path / "file" / "runs"))
    assert code == 1
    for name, part in (("storage", "NotADirectoryError"), ("data", "data.source.folder: no such")):
        checks = [check for check in report["checks"] if check["name"] == name]
        assert len(checks) == 3
        assert all(not check["ok"] and part in check["found"] for check in checks)


def test_a_storage_of_each_nodes_own_is_not_shared(nodes: ThreeNodes) -> None:
    code, report = doctor("--address", nodes.address, "--storage", "memory://runs")
    assert code == 1
    checks = [check for check in report["checks"] if check["name"] == "storage"]
    assert len(checks) == 3 and not any(check["ok"] for check in checks)
    assert nodes.name(nodes.odd) in checks[0]["found"]
    assert report["not_checked"] == ["data: name the search with --space SPACE.yaml"]


def test_a_machine_with_another_token_is_told_so(nodes: ThreeNodes) -> None:
    code, report = doctor("--address", nodes.address, RAY_AUTH_TOKEN="another")
    assert code == 1
    (check,) = report["checks"]
    assert check["name"] == "token authentication"
    assert check["found"] == "the token of this machine is refused"


def test_a_frozen_node_is_named_and_holds_nobody_up(nodes: ThreeNodes, tmp_path: Path) -> None:
    raylet = nodes.healthy.all_processes["raylet"][0].process
    os.kill(raylet.pid, signal.SIGSTOP)
    try:
        code, report = run("-c", IN_A_HURRY, nodes.address, str(tmp_path / "runs"))
    finally:
        os.kill(raylet.pid, signal.SIGCONT)
    assert code == 0
    silent = [check for check in report["checks"] if check["name"] == "node"]
    assert [check["node"] for check in silent] == [nodes.name(nodes.healthy)]
    assert silent[0]["found"] == "did not answer within 8 s"
    # The others are checked all the same.
    for name in ("storage", "gloo all-reduce"):
        checks = [check for check in report["checks"] if check["name"] == name]
        assert len(checks) == 2 and all(check["ok"] for check in checks)
