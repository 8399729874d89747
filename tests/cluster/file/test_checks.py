"""Every broken cluster file gets its message, at its line, and nothing else."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.util import with_envs

from dann_search.cluster.file.capacity import check_capacity
from dann_search.cluster.file.launcher_file import TYPES, LauncherFile
from dann_search.cluster.file.sharing import check_sharing
from dann_search.cluster.validate_cluster import check_file, validate_cluster
from dann_search.config.data import DataConfig
from dann_search.config.experiment import ResourcesConfig
from dann_search.config.source import KeyPath, read_yaml
from tests.cluster.file.shipped import AWS, FILES, GCP, NOWHERE, ON_PREMISE, Broken, line_of
from tests.experiments import space_file

DATA = DataConfig(source={"folder": "/cats"}, target={"folder": "/dogs"})
START = "head_start_ray_commands:\n  - ray stop\n  - >-"
SETUP = "runs code on every node\n  - >-"
GROUP = "    GroupName: dann-search-nodes\n"
RULES = "provider.security_group.IpPermissions.0"
WORKERS = "max_workers: 8  "
SPOT = f"{TYPES}.gpu_spot"
BROKEN = [
    # Whether a trial fits a node.
    Broken(
        "trial larger than any node", WORKERS, WORKERS, SPOT,
        ("cannot hold a trial", "it needs 2 workers with 3 CPUs and 1 GPU each on one node, "
         "and it has 4 CPUs and 1 GPU"),
        at="  gpu_spot:", space={"resources": {"workers_per_trial": 2, "cpus_per_worker": 3}},
    ),
    Broken(
        "trial larger than one type", "resources: {CPU: 4, GPU: 1}",
        "resources: {CPU: 2, GPU: 1}", SPOT, ("never holds", "it needs 3 CPUs and 1 GPU"),
        at="  gpu_spot:", severity="warning", space={"resources": {"cpus_per_worker": 3}},
    ),
    Broken(
        "memory that a node does not have", "resources: {CPU: 4, GPU: 1}",
        "resources: {CPU: 4, GPU: 1, memory: 17179869184}", SPOT,
        ("it needs 1 CPU and 1 GPU and 32 GiB of memory", "1 GPU and 16 GiB of memory"),
        at="  gpu_spot:", severity="warning", space={"resources": {"memory_per_worker_gib": 32}},
    ),
    Broken(
        "GPUs of another kind", "{CPU: 4, GPU: 1}", "{CPU: 4, GPU: 1, accelerator_type:T4: 1}",
        SPOT, ("it needs accelerator_type: A100, and resources name T4",),
        at="  gpu_spot:", severity="warning", space={"resources": {"accelerator_type": "A100"}},
    ),
    Broken(
        "GPUs of a kind that is not declared", "max_workers: 8\n", "max_workers: 8\n", SPOT,
        ("it needs accelerator_type: L4", "name none (accelerator_type:L4: 1)"), at="  gpu_spot:",
        file=GCP, space={"resources": {"accelerator_type": "L4"}},
    ),
    Broken(
        "CPUs that are not declared", "resources: {CPU: 8, GPU: 1}", "resources: {GPU: 1}", SPOT,
        ("it has 0 CPUs and 1 GPU",), at="  gpu_spot:", severity="warning", file=GCP, space={},
    ),
    Broken(
        "GPUs that Ray asks EC2 for", "resources: {CPU: 4, GPU: 1}", "resources: {CPU: 4}",
        f"{SPOT}.resources", ("must state CPU and GPU",), severity="warning", space={},
    ),
    # Spot nodes.
    Broken(
        "head that may be taken away", "      InstanceType: r6i.xlarge\n",
        "      InstanceType: r6i.xlarge\n      InstanceMarketOptions: {MarketType: spot}\n",
        f"{TYPES}.head", ("must not be spot",), at="  head:",
    ),
    Broken(
        "autoscaler without the scorer", "RAY_AUTOSCALER_UTILIZATION_SCORER=", "SCORER=",
        "head_start_ray_commands.1", ("again and again", "spot_first.score before ray start"),
        at=START, severity="warning",
    ),
    Broken(
        "an autoscaler without a scorer", "RAY_enable_autoscaler_v2=0", "",
        "head_start_ray_commands.1", ("ignores the scorer", "RAY_enable_autoscaler_v2=0 before"),
        at=START, severity="warning",
    ),
    Broken(
        "an autoscaler that takes the head for a worker", "RAY_enable_autoscaler_v2=0 ", "",
        "head_start_ray_commands.1", ("never starts the last of worker_ips",),
        at="head_start_ray_commands:\n  - ~/dann/bin/ray stop\n  - >-", file=ON_PREMISE,
    ),
    Broken(
        "nothing watches for notices", "  - nohup python -m dann_search.cluster.spot_notice",
        "  - true", "worker_start_ray_commands", ("nothing listens", "spot_notice aws &"),
        at="worker_start_ray_commands:", severity="warning",
    ),
    # Storage and data.
    Broken(
        "storage on a node's own disk", WORKERS, WORKERS, "storage",
        ("/home/ray/runs is on each node's own disk", "s3://"), at="storage:",
        space={"storage": "/home/ray/runs"},
    ),
    Broken(
        "data that nodes do not see", WORKERS, WORKERS, "data.source.folder",
        ("/home/me/cats is on this machine", "file_mounts"), at="folder:",
        space={"data__source": {"folder": "/home/me/cats"}},
    ),
    # Versions.
    Broken(
        "another torch on the workers", "worker_setup_commands: []",
        "worker_setup_commands:\n  - pip install torch==2.12.0", "worker_setup_commands.0",
        ("torch: the head has 2.13.0, gpu_spot 2.12.0",), at="torch==2.12.0",
    ),
    Broken(
        "another Ray in the workers' image", "  container_name: dann_search",
        "  worker_image: rayproject/ray:2.59.0-py311-gpu\n  container_name: dann_search",
        "docker.worker_image", ("ray: the head has 2.60.0, gpu_spot 2.59.0",),
    ),
    Broken(
        "another Python in the workers' image", "  container_name: dann_search",
        "  worker_image: rayproject/ray:2.60.0-py312-gpu\n  container_name: dann_search",
        "docker.worker_image", ("python: the head has 3.11, gpu_spot 3.12",),
    ),
    Broken(
        "torch without a version", "torch==2.13.0 torchvision", "torch torchvision",
        "setup_commands.1", ("torch has no exact version",), at=SETUP, severity="warning",
    ),
    Broken(
        "a range of torch", "torch==2.13.0", "torch>=2.13", "setup_commands.1",
        ("torch has no exact version", "write torch=="), at=SETUP, severity="warning",
    ),
    Broken(
        "a branch that moves", '"$HOME/dist/dann_search-0.1.0-py3-none-any.whl[s3]"',
        '"dann-search[s3] @ git+https://example.org/dann-search"', "setup_commands.1",
        ("git+https://example.org/dann-search names no commit",), at=SETUP, severity="warning",
    ),
    Broken(
        "another version of this project", "dann_search-0.1.0", "dann_search-9.9.9",
        "setup_commands.1", ("installs dann-search 9.9.9, and this machine has",), at=SETUP,
        severity="warning",
    ),
    Broken(
        "nothing installs this project",
        '\n    "$HOME/dist/dann_search-0.1.0-py3-none-any.whl[s3]"', "", "setup_commands",
        ("nothing installs this project on head, gpu_spot, gpu_on_demand",), at="setup_commands:",
    ),
    Broken(
        "nothing installs this project on one type", "    priority: 10",
        "    worker_setup_commands: [pip install torch==2.13.0, chmod 600 ~/.ray/auth_token]\n"
        "    priority: 10",
        f"{SPOT}.worker_setup_commands", ("nothing installs this project on gpu_spot;",),
    ),
    Broken(
        "a container of no version", "rayproject/ray:2.60.0-py311-gpu",
        "rayproject/ray:latest-py311-gpu", "docker.image", ("must name a version",), at="  image:",
        severity="warning",
    ),
    Broken(
        "Ray's default set-up", "\nsetup_commands:\n", "\ncluster_synced_files:\n",
        "setup_commands", ("nightly Ray",), at=NOWHERE,
    ),
    # Who gets in.
    Broken(
        "dashboard open to the internet", GROUP, f"{GROUP}    IpPermissions:\n      - FromPort: "
        "8265\n        ToPort: 8265\n        IpRanges: [{CidrIp: 0.0.0.0/0}]\n",
        f"{RULES}.IpRanges.0.CidrIp", ("opens ports 8265 to 8265 to the internet", "got 0.0.0.0/0"),
        at="CidrIp",
    ),
    Broken(
        "everything open to the internet", GROUP, f"{GROUP}    IpPermissions:\n"
        "      - {IpProtocol: '-1', Ipv6Ranges: [{CidrIpv6: '::/0'}]}\n",
        f"{RULES}.Ipv6Ranges.0.CidrIpv6", ("opens all ports", "got ::/0"), at="CidrIpv6",
    ),
    Broken(
        "half the internet", GROUP, f"{GROUP}    IpPermissions:\n"
        "      - {FromPort: 20, ToPort: 90, IpRanges: [{CidrIp: 128.0.0.0/1}]}\n",
        f"{RULES}.IpRanges.0.CidrIp", ("opens ports 20 to 90", "got 128.0.0.0/1"), at="CidrIp",
    ),
    Broken(
        "a network that is none", GROUP, f"{GROUP}    IpPermissions:\n"
        "      - {FromPort: 22, ToPort: 22, IpRanges: [{CidrIp: 10.0.0/33}]}\n",
        f"{RULES}.IpRanges.0.CidrIp", ("must be a network", "got 10.0.0/33"), at="CidrIp",
    ),
    Broken(
        "dashboard on every address", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0",
        "head_start_ray_commands.1", ("--dashboard-host: must be 127.0.0.1", "got 0.0.0.0"),
        at=START,
    ),
    Broken(
        "a head that Ray's default starts", "    ray start --head", "    true --head",
        "head_start_ray_commands", ("opens the dashboard on every address",),
        at="head_start_ray_commands:", file=GCP,
    ),
    Broken(
        "no token mode", "    - -e RAY_AUTH_MODE=token  ", "    #", "head_start_ray_commands.1",
        ("token authentication is not on", "-e RAY_AUTH_MODE=token"), at=START,
    ),
    Broken(
        "token mode off", "RAY_AUTH_MODE=token  ", "RAY_AUTH_MODE=disabled  ",
        "docker.run_options.1", ("RAY_AUTH_MODE: must be token, got disabled",),
        at="RAY_AUTH_MODE",
    ),
    Broken(
        "no token", "  ~/.ray/auth_token: ~/.ray/auth_token  ", "  #", "file_mounts",
        ("no token reaches the nodes", "ray get-auth-token --generate"), at="file_mounts:",
    ),
    Broken(
        "a token that all users of a node can read", "  - chmod 600 ~/.ray/auth_token", "  - pwd",
        "setup_commands", ("readable by all users of a node", "chmod 600 ~/.ray/auth_token"),
        at="setup_commands:", severity="warning",
    ),
    Broken(
        "token in the file", "    - -e RAY_AUTH_MODE=token",
        "    - -e RAY_AUTH_TOKEN=0123abc\n    - -e RAY_AUTH_MODE=token", "docker.run_options.1",
        ("contains the token itself",),
    ),
]  # fmt: skip


def test_a_token_that_others_can_read_here_is_named(token: Path) -> None:
    token.write_text("0" * 64)
    token.chmod(0o600)
    assert validate_cluster(AWS).findings == []
    token.chmod(0o644)
    (finding,) = validate_cluster(AWS).findings
    assert finding.key == "file_mounts.~/.ray/auth_token" and finding.line
    assert "mode 0644" in finding.message and "chmod 600" in finding.message


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_ray_up_starts_the_first_autoscaler_with_the_shipped_files(
    file: Path, tmp_path: Path
) -> None:
    """What ``ray up`` makes of the head's commands, run by a shell with another ``ray``."""
    ray, seen = tmp_path / "ray", tmp_path / "seen"
    ray.write_text(f"#!/bin/sh\necho $1 $RAY_enable_autoscaler_v2 >> {seen}\n")
    ray.chmod(0o700)
    commands = read_yaml(file).content["head_start_ray_commands"]
    for command in with_envs(commands, {"RAY_enable_autoscaler_v2": "1"}):
        here = command.replace("~/dann/bin/", "").replace("ulimit -n 65536;", "")
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-c", here], env={**os.environ, "PATH": path}, check=True)
    assert seen.read_text().splitlines() == ["stop 1", "start 0"]


@pytest.mark.parametrize("case", BROKEN, ids=[case.why for case in BROKEN])
def test_a_broken_file_gets_the_right_message_at_the_right_line(
    tmp_path: Path, case: Broken
) -> None:
    cluster, space = tmp_path / "cluster.yaml", None
    cluster.write_text(case.text())
    if case.space is not None:
        space = space_file(tmp_path, **{"storage": "s3://bucket/runs", **case.space})
    findings = validate_cluster(cluster, space).findings
    # Both spot and on-demand workers, or head and workers, may lack the same thing.
    found = [one for one in findings if one.key == case.key]
    assert found, findings
    assert {one.message for one in findings} == {one.message for one in found}, findings
    assert found[0].severity == case.severity
    for part in case.message:
        assert part in found[0].message
    file = space if case.key.startswith(("storage", "data")) else cluster
    assert found[0].file == str(file)
    at = case.at or case.new.strip().splitlines()[0]
    assert file and found[0].line == (None if at == NOWHERE else line_of(at, file.read_text()))


def test_own_machines_need_the_token_mode_on_the_head_and_on_workers(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(ON_PREMISE.read_text().replace("RAY_AUTH_MODE=token ", ""))
    findings = validate_cluster(path).findings
    assert [one.key for one in findings] == [
        "head_start_ray_commands.1",
        "worker_start_ray_commands.1",
    ]
    assert all("set RAY_AUTH_MODE=token before it" in one.message for one in findings)


@pytest.mark.parametrize(
    ("storage", "bound", "shared"),
    [
        ("/mnt/efs/runs", True, True),
        ("/mnt/efs/runs", False, False),
        ("/mnt/efs2/runs", True, False),
        ("/home/ray/runs", True, False),
    ],
)
def test_a_mount_of_the_host_is_shared_once_the_container_has_it(
    tmp_path: Path, storage: str, bound: bool, shared: bool
) -> None:
    file = with_efs(tmp_path, bound=bound)
    messages = [
        one.message for one in validate_cluster(file, space_file(tmp_path), storage).findings
    ]
    assert len(messages) == (0 if shared else 1)
    assert shared or f"{storage} is on each node's own disk" in messages[0]


def with_efs(folder: Path, *, bound: bool) -> Path:
    """Return the shipped file with a mount on the hosts, bound in the containers or not."""
    mount = "\ninitialization_commands:\n  - sudo mount -t nfs4 fs-1.efs.amazonaws.com:/ /mnt/efs\n"
    bind = "  run_options:\n" + '    - "-v /mnt/efs:/mnt/efs"\n' * bound
    path = folder / "cluster.yaml"
    path.write_text(AWS.read_text().replace("  run_options:\n", bind) + mount)
    return path


def test_data_that_are_mounted_or_brought_along_are_seen(tmp_path: Path) -> None:
    path = with_efs(tmp_path, bound=True)
    text = path.read_text().replace("  ~/dist: dist", "  ~/dist: dist\n  /data/target: target")
    path.write_text(text)
    space = space_file(
        tmp_path,
        data__source={"folder": "/mnt/efs/source"},
        data__target={"folder": "/data/target"},
    )
    assert validate_cluster(path, space, "s3://bucket/runs").findings == []


def test_what_own_machines_may_mount_by_themselves_is_a_warning(tmp_path: Path) -> None:
    result = validate_cluster(ON_PREMISE, space_file(tmp_path), "/elsewhere/runs")
    assert result.valid and [one.severity for one in result.findings] == ["warning"]
    assert validate_cluster(ON_PREMISE, space_file(tmp_path), "/shared/runs").findings == []


def test_a_trial_over_several_nodes_needs_no_node_that_holds_it_alone(tmp_path: Path) -> None:
    resources = {"workers_per_trial": 2, "cpus_per_worker": 4, "across_nodes": True}
    space = space_file(tmp_path, resources=resources)
    assert validate_cluster(AWS, space, "s3://bucket/runs").findings == []


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_no_value_of_a_wrong_type_stops_the_checks(file: Path) -> None:
    source = read_yaml(file)
    places = list(dict.fromkeys(paths(source.content)))
    assert len(places) > 20
    for *above, key in places:
        node: Any = source.content
        for step in above:
            node = node[step]
        before = node[key]
        for value in (None, -1.5, "x", [], [3], {"a": 1}):
            node[key] = value
            broken = LauncherFile(source)
            assert isinstance(check_file(broken), list)
            list(check_capacity(broken, ResourcesConfig()))
            list(check_sharing(broken, source, "/runs", DATA, None))
        node[key] = before


def paths(node: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of everything in plain content."""
    if not isinstance(node, dict | list):
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        yield from paths(value, (*path, key))
