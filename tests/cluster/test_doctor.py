"""The verdicts of doctor on the facts of nodes, and on this machine without Ray."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dann_search.cli import main
from dann_search.cluster.doctor import all_reduce, judge, probe
from dann_search.cluster.doctor.authentication import check_dashboard
from dann_search.cluster.doctor.needs import Needs, needs_of
from dann_search.cluster.doctor.nodes import ProbedNode, Silence
from dann_search.cluster.doctor.probe import DataPlace, Disk, Facts
from tests.cluster.conftest import Quiet, serving
from tests.experiments import space_file
from tests.json_output import printed

GIB = 2**30
NODE = "gpu/ab12cd"
HERE = probe.look().versions
WITH_GPU = Facts(
    versions=HERE,
    cuda="13.0",
    driver="580.82",
    gpus=("NVIDIA A10G",),
    torch_gpus=1,
    trouble="",
    shared_memory=8 * GIB,
    disks=(Disk("/cache", 100 * GIB, 200 * GIB),),
)


def test_nodes_that_are_missing_are_counted_and_those_there_named() -> None:
    assert judge.judge_count(["a (head)", "b", "c"], 3).ok
    check = judge.judge_count(["a (head)", "b"], 3)
    assert not check.ok and check.found == "2 of 3: a (head), b"
    assert "ray status" in str(check.remedy)


def test_a_number_of_nodes_is_about_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--nodes", "3"]) == 2
    assert "--nodes 3: is about a cluster" in capsys.readouterr().err


def test_a_token_file_that_others_can_read_is_red() -> None:
    assert judge.judge_token_file(NODE, WITH_GPU).ok
    assert judge.judge_token_file(NODE, replace(WITH_GPU, token_mode=0o600)).ok
    check = judge.judge_token_file(NODE, replace(WITH_GPU, token_mode=0o640))
    assert not check.ok and "mode 0640" in check.found and "chmod 600" in str(check.remedy)


def test_a_node_with_the_drivers_versions_is_green_and_another_torch_is_named() -> None:
    same = judge.judge_versions(NODE, WITH_GPU, WITH_GPU)
    assert same.ok and f"torch {HERE['torch']}" in same.found
    other = replace(WITH_GPU, versions={**HERE, "torch": "2.99.0"})
    check = judge.judge_versions(NODE, other, WITH_GPU)
    assert not check.ok
    assert check.found == f"torch 2.99.0, the driver has {HERE['torch']}"
    assert "one version on all nodes" in str(check.remedy)


def test_the_cpu_build_of_the_same_torch_is_the_same_version() -> None:
    public = HERE["torch"].partition("+")[0]
    builds = [replace(WITH_GPU, versions={**HERE, "torch": public + b}) for b in ("", "+cpu")]
    assert judge.judge_versions(NODE, builds[0], builds[1]).ok


def test_what_this_project_needs_is_asked_of_a_single_machine() -> None:
    versions = {**HERE, "torch": "2.1.0"}
    del versions["optuna"]
    check = judge.judge_versions(NODE, replace(WITH_GPU, versions=versions))
    assert "torch 2.1.0, needs >=" in check.found and "optuna missing" in check.found
    assert "pip install 'torch>=" in str(check.remedy)


def test_drivers_must_agree_on_nodes_with_gpus_alone() -> None:
    head = replace(WITH_GPU, gpus=(), driver=None, torch_gpus=0)
    old = replace(WITH_GPU, driver="535.1")
    checks = judge.judge_cuda({"head": head, "a": WITH_GPU, "b": old})
    assert [(check.node, check.ok) for check in checks] == [("a", True), ("b", False)]
    assert checks[1].found == "CUDA 13.0, driver 535.1; a has CUDA 13.0, driver 580.82"


def test_torch_without_cuda_beside_a_driver_is_red() -> None:
    facts = replace(WITH_GPU, cuda=None, torch_gpus=0)
    (check,) = judge.judge_cuda({NODE: facts})
    assert not check.ok and "built without CUDA" in check.found
    seen = judge.judge_gpus(NODE, facts)
    assert seen.found == "1 there, torch sees 0" and "--gpus=all" in str(seen.remedy)


@pytest.mark.parametrize(("ray", "ok"), [(1.0, True), (0.0, False), (2.0, False), (None, True)])
def test_ray_must_offer_the_gpus_that_torch_sees(ray: float | None, ok: bool) -> None:
    check = judge.judge_gpus(NODE, WITH_GPU, ray)
    assert check.ok is ok
    assert ok or "GPU: 1" in str(check.remedy)


def test_dockers_64_mib_of_shared_memory_are_too_little() -> None:
    check = judge.judge_shared_memory(NODE, replace(WITH_GPU, shared_memory=64 * 2**20), 5e8)
    assert check.found == "/dev/shm has 64 MiB, 477 MiB are needed"
    assert "--shm-size" in str(check.remedy)
    assert judge.judge_shared_memory(NODE, WITH_GPU, 5e8).ok


def test_several_gpus_need_more_shared_memory() -> None:
    facts = replace(WITH_GPU, gpus=("A", "B", "C", "D"), shared_memory=GIB)
    assert judge.judge_shared_memory(NODE, facts, 0).ok
    assert not judge.judge_shared_memory(NODE, facts, 5e8).ok


def test_the_disk_must_hold_the_packed_store() -> None:
    needs = Needs("/runs", (), 50 * GIB, store_is_known=True)
    assert judge.judge_disk(NODE, WITH_GPU, needs).ok
    full = replace(WITH_GPU, disks=(Disk("/cache", 20 * GIB, 200 * GIB),))
    check = judge.judge_disk(NODE, full, needs)
    expected = "52 GiB are needed for the packed store (50 GiB) and logs"
    assert check.found == f"20 GiB free at /cache; {expected}"


@pytest.mark.parametrize(
    ("skew", "error", "ok"),
    [(0.1, 0.0, True), (9.0, 0.1, False), (-9.0, 0.1, False), (9.0, 8.0, True)],
)
def test_a_clock_is_wrong_only_as_far_as_it_could_be_measured(
    skew: float, error: float, ok: bool
) -> None:
    check = judge.judge_skew(NODE, skew, error)
    assert check.ok is ok
    assert ok or ("ahead of" if skew > 0 else "behind") in check.found


def test_storage_that_hides_another_nodes_file_is_not_shared() -> None:
    written = {"a": "node a", "b": "node b"}
    assert judge.judge_storage("node a", "/runs", "", ("a", "b"), written).ok
    check = judge.judge_storage("node a", "/runs", "", ("a",), written)
    assert "/runs: does not show what node b wrote" in check.found
    assert "mounted file system or object storage" in str(check.remedy)


def two_nodes() -> list[ProbedNode]:
    return [ProbedNode(name, f"{name} of two", 2.0, 0.0) for name in ("a", "b")]


def test_nccl_adds_up_over_every_gpu_of_every_node() -> None:
    a, b = two_nodes()
    asked: dict[Any, tuple[ProbedNode, tuple[Any, ...]]] = {}

    def answer(calls: Any, function: Any, *, limit_s: float) -> dict[Any, Any]:
        asked.update(calls)
        return {(b, 1): Silence("DistBackendError"), **dict.fromkeys(list(calls)[:-1], 10.0)}

    checks = all_reduce.check_all_reduce([a, b], "127.0.0.1", answer, {a: 2, b: 2})
    assert list(asked) == [(a, 0), (a, 1), (b, 0), (b, 1)]
    for rank, ((node, gpu), (where, values)) in enumerate(asked.items()):
        assert where == node
        assert (values[0], values[1], values[4]) == (rank, 4, gpu)
    assert [(check.node, check.ok) for check in checks] == [(a.name, True), (b.name, False)]
    assert checks[0].name == "nccl all-reduce" and checks[0].found == "over 4 GPUs on 2 nodes"
    assert checks[1].found == "DistBackendError"


@pytest.mark.parametrize(("gpu", "device"), [(None, "cpu"), (3, "cuda:3")])
def test_each_process_adds_up_on_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, gpu: int | None, device: str
) -> None:
    """CUDA and NCCL are replaced: the device is recorded, gloo adds up."""
    import torch
    import torch.distributed as dist

    said: list[str] = []
    init, tensor = dist.init_process_group, torch.tensor

    def init_without_nccl(backend: str, **options: Any) -> None:
        said.append(backend)
        init("gloo", **options)

    def tensor_on_cpu(values: list[float], device: torch.device) -> torch.Tensor:
        said.append(str(device))
        return tensor(values)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(dist, "init_process_group", init_without_nccl)
    monkeypatch.setattr(torch, "tensor", tensor_on_cpu)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: said.append(f"set {device}"))
    store = dist.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    assert all_reduce.add_up(0, 1, "127.0.0.1", store.port, gpu, 30) == 1.0
    assert said == (["gloo", device] if gpu is None else [f"set {device}", "nccl", device])
    assert ("CUDA_VISIBLE_DEVICES" in os.environ) is (gpu is None)


def test_writing_leaves_nothing_behind_but_a_folder_that_was_there(tmp_path: Path) -> None:
    for storage, made in ((tmp_path / "new" / "runs", True), (tmp_path, False)):
        wrote = probe.write(str(storage), "run")
        assert (wrote.error, wrote.made) == ("", made)
        assert probe.marks(str(storage), "run") == (wrote.mark,)
        probe.erase(str(storage), "run", wrote.made)
        assert storage.exists() is not made
    assert not list((tmp_path / "new").iterdir())


def test_missing_data_are_named_by_their_key(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jpg").touch()
    (tmp_path / "empty").mkdir()
    found = probe.missing(
        (
            DataPlace(("data", "source", "folder"), str(tmp_path / "full")),
            DataPlace(("data", "target", "folder"), str(tmp_path / "empty")),
            DataPlace(("data", "target", "manifest"), str(tmp_path / "no.csv"), is_file=True),
            DataPlace(("data", "target", "unlabelled"), "nosuch://bucket/x"),
        )
    )
    assert found.keys() == {"data.target.folder", "data.target.manifest", "data.target.unlabelled"}
    assert "no such file" in found["data.target.manifest"]
    assert "nosuch" in found["data.target.unlabelled"]


def test_the_store_is_estimated_from_the_images_there_are(tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name / "cat").mkdir(parents=True)
        for number in range(3):
            (tmp_path / name / "cat" / f"{number}.jpg").touch()
    domains = {f"data__{name}": {"folder": str(tmp_path / name)} for name in ("source", "target")}
    needs = needs_of(space_file(tmp_path, **domains), None, ["data.image_size=32"], local=True)
    assert (needs.store_bytes, needs.store_is_known) == (6 * 3 * 32 * 32, True)
    assert needs.storage == str(tmp_path / "runs")
    assert {place.key for place in needs.places or ()} == {
        "data.source.folder",
        "data.target.folder",
    }
    shown = {"folder": str(tmp_path / "source")}
    few = domains | {"data__target__labels": shown}
    needs = needs_of(space_file(tmp_path, **few), None, ["data.image_size=32"], local=True)
    assert needs.store_bytes == 9 * 3 * 32 * 32
    assert "data.target.labels.folder" in {place.key for place in needs.places or ()}
    saved = {"huggingface": {"folder": str(tmp_path / "source")}}
    needs = needs_of(space_file(tmp_path, data__source=saved), None, [], local=True)
    assert {place.key for place in needs.places or ()} == {"data.source.huggingface.folder"}
    assert not needs.store_is_known
    elsewhere = {"huggingface": {"folder": str(tmp_path / "on-the-nodes")}}
    needs = needs_of(space_file(tmp_path, data__target=elsewhere), None, [], local=False)
    assert {place.key for place in needs.places or ()} == {"data.target.huggingface.folder"}
    behind_url = {"data__source": {"folder": "s3://bucket/source"}}
    needs = needs_of(space_file(tmp_path, **behind_url), None, [], local=True)
    assert (needs.store_bytes, needs.store_is_known) == (50 * GIB, False)


def test_a_healthy_machine_is_green_without_starting_ray(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setattr("ray.init", None)
    words = ["doctor", "--space", str(space_file(tmp_path))]
    assert main([*words, "--json"]) == 0
    content = printed("doctor", capsys.readouterr().out)
    assert content["ok"] and content["not_checked"] == []
    names = [check["name"] for check in content["checks"]]
    assert {"versions", "GPUs", "shared memory", "free disk", "storage", "data"} <= {*names}
    assert all(check["node"] == socket.gethostname() for check in content["checks"])
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names) and all(line.startswith("ok  ") for line in lines)


def test_a_sick_machine_is_red_with_remedies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (tmp_path / "file").touch()
    space = space_file(tmp_path, data__source={"folder": str(tmp_path / "gone")})
    assert main(["doctor", "--space", str(space), "--storage", str(tmp_path / "file/runs")]) == 1
    red = [line for line in capsys.readouterr().out.splitlines() if line.startswith("RED ")]
    assert all(". Remedy: " in line for line in red)
    text = "\n".join(red)
    assert "RAY_AUTH_MODE=disabled" in text and "NotADirectoryError" in text
    assert f"data.source.folder: no such folder with anything in it: {tmp_path / 'gone'}" in text


def test_an_http_address_is_refused_with_the_way_to_do_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--address", "http://head:8265"]) == 2
    assert "ray exec cluster.yaml 'dann-search doctor --address auto'" in capsys.readouterr().err


def test_an_address_where_nobody_listens_is_one_red_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert main(["doctor", "--address", address, "--json"]) == 1
    (check,) = printed("doctor", capsys.readouterr().out)["checks"]
    assert (check["name"], check["node"], check["ok"]) == ("cluster", address, False)
    assert "nobody answers" in check["found"]


@pytest.fixture
def dashboard() -> Iterator[Any]:
    """A server that answers every request with the status that the test sets."""

    class Answer(Quiet):
        status = 200

        def do_GET(self) -> None:
            self.send_response(type(self).status)
            self.end_headers()

    # The check takes this loopback address for one of a network.
    with serving(Answer, "127.0.0.2") as server:
        yield server


@pytest.mark.parametrize(("status", "ok"), [(200, False), (401, True), (403, True)])
def test_a_dashboard_on_the_network_must_refuse_strangers(
    dashboard: Any, status: int, ok: bool
) -> None:
    dashboard.RequestHandlerClass.status = status
    check = check_dashboard(f"127.0.0.2:{dashboard.server_port}")
    assert check.ok is ok
    assert ok or "--dashboard-host=127.0.0.1" in str(check.remedy)


def test_a_dashboard_on_the_loopback_is_well() -> None:
    assert check_dashboard("http://127.0.0.1:8265").ok


def test_a_temporary_folder_too_long_for_sockets_is_red_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/" + "a" * 60)
    assert main(["doctor", "--storage", str(tmp_path), "--json"]) == 1
    checks = {
        check["name"]: check for check in printed("doctor", capsys.readouterr().out)["checks"]
    }
    assert not checks["sockets"]["ok"] and "61 bytes" in checks["sockets"]["found"]
    assert checks["sockets"]["remedy"].endswith("export RAY_TMPDIR=/tmp")
