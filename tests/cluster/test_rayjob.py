"""The KubeRay manifest in the docs, as far as it can be checked without Kubernetes."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from dann_search.cli import main

FILE = Path(__file__).parents[2] / "docs" / "cluster" / "rayjob.yaml"
MANIFEST = yaml.safe_load(FILE.read_text(encoding="utf-8"))
CLUSTER = MANIFEST["spec"]["rayClusterSpec"]
GROUPS = {"head": CLUSTER["headGroupSpec"]} | {
    group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]
}


def container(group: str) -> dict[str, Any]:
    (found,) = GROUPS[group]["template"]["spec"]["containers"]
    return dict(found)


def gib(amount: str) -> int:
    match = re.fullmatch(r"(\d+)Gi", amount)
    assert match, amount
    return int(match[1])


def test_it_is_a_ray_job_of_the_installed_ray() -> None:
    assert (MANIFEST["apiVersion"], MANIFEST["kind"]) == ("ray.io/v1", "RayJob")
    minor = version("ray").rpartition(".")[0]
    assert CLUSTER["rayVersion"].rpartition(".")[0] == minor
    assert f"BASE=rayproject/ray:{CLUSTER['rayVersion']}-py311-gpu" in FILE.read_text()


def test_its_entrypoint_is_a_launch_on_shared_storage() -> None:
    words = MANIFEST["spec"]["entrypoint"].split()
    assert words[:2] == ["dann-search", "launch"]
    assert words[words.index("--storage") + 1].startswith("s3://")
    assert words[words.index("--address") + 1] == "auto"
    mounts = {m["mountPath"] for m in container("head")["volumeMounts"]}
    assert str(Path(words[2]).parent) in mounts


def test_nobody_gets_in_without_the_token() -> None:
    assert CLUSTER["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("group", list(GROUPS))
def test_a_pod_gets_what_it_asks_for_and_shared_memory_for_rays_store(group: str) -> None:
    pod, spec = container(group), GROUPS[group]["template"]["spec"]
    assert pod["resources"]["requests"] == pod["resources"]["limits"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert {mount["name"] for mount in pod["volumeMounts"]} <= volumes.keys()
    memory = volumes["shared-memory"]["emptyDir"]
    assert memory["medium"] == "Memory"
    store = int(GROUPS[group]["rayStartParams"]["object-store-memory"])
    assert store < gib(memory["sizeLimit"]) * 2**30


def test_the_head_carries_the_drivers_part_and_workers_a_gpu() -> None:
    assert GROUPS["head"]["rayStartParams"]["num-cpus"] == "0"
    workers = sum(group.get("maxReplicas", 0) for group in GROUPS.values())
    # A Train run and its light trials a worker, 5 GiB for Ray, the driver and the study.
    assert gib(container("head")["resources"]["limits"]["memory"]) >= 5 + workers
    for name in GROUPS.keys() - {"head"}:
        limits = container(name)["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == "1" and int(limits["cpu"]) >= 4
        # Packed store (50 GiB at most), packages and logs.
        assert gib(limits["ephemeral-storage"]) >= 110


def test_spot_pods_come_before_those_on_demand() -> None:
    assert CLUSTER["enableInTreeAutoscaling"] and CLUSTER["autoscalerOptions"]["version"] == "v2"
    assert GROUPS["gpu-spot"]["priority"] > GROUPS["gpu-on-demand"]["priority"]
    selectors = [
        GROUPS[name]["template"]["spec"]["nodeSelector"] for name in GROUPS if "gpu" in name
    ]
    assert selectors[0] != selectors[1]


def test_validate_cluster_sends_a_manifest_to_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate-cluster", str(FILE)]) == 2
    assert "kubectl apply --dry-run=server" in capsys.readouterr().err
