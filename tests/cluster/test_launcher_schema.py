"""The shipped cluster files pass Ray's validation, and its complaints come with their place."""

import copy
import re
import socket
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import dann_search
from dann_search.cluster.file.capacity import WATCH
from dann_search.cluster.file.launcher_file import LauncherFile
from dann_search.cluster.validate_cluster import check_schema, validate_cluster
from dann_search.config.source import SourceFile
from dann_search.outputs.cluster import Finding
from tests.cluster.file.shipped import AWS, FILES, GCP, ON_PREMISE, ROOT
from tests.experiments import space_file


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a cloud is asked."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_shipped_file_passes_rays_own_validation(file: Path) -> None:
    prepared = prepare_config(yaml.safe_load(file.read_text()))
    validate_config(prepared)
    head = prepared["head_node_type"]
    assert prepared["available_node_types"][head]["max_workers"] == (2 if "local" in head else 0)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_shipped_file_has_no_findings_alone_or_for_a_search(file: Path, tmp_path: Path) -> None:
    assert validate_cluster(file).findings == []
    storage = {"cluster.yaml": "s3://bucket/runs", "gcp.yaml": "gs://bucket/runs"}
    space = space_file(tmp_path, resources={"cpus_per_worker": 4})
    assert validate_cluster(file, space, storage.get(file.name, "/shared/runs")).findings == []


def test_the_watch_in_a_shipped_file_is_one_that_there_is() -> None:
    from dann_search.cluster import spot_notice

    assert spot_notice.__name__ == WATCH
    for file, cloud in ((AWS, "aws"), (GCP, "gcp")):
        assert f"python -m {WATCH} {cloud} " in file.read_text() and cloud in spot_notice.LEFT_S


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_shipped_file_installs_what_there_is(file: Path) -> None:
    text = file.read_text()
    pins = dict(re.findall(r"\b(torch|torchvision|optuna|ray\[default\])\"?==([\d.]+)", text))
    image = re.search(r"image: rayproject/ray:([\d.]+)-py311-gpu", text)
    pinned_ray = image[1] if image else pins.pop("ray[default]")
    assert version("ray") == pinned_ray
    assert {name: version(name).partition("+")[0] for name in pins} == pins
    assert len(pins) == 3
    wheel = re.search(r"/dist/dann_search-([\d.]+)-py3-none-any\.whl(?:\[(\w+)\])?", text)
    assert wheel and wheel[1] == dann_search.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert wheel[2] is None or wheel[2] in project["optional-dependencies"]


def complaint(content: dict[str, Any]) -> Finding:
    found = check_schema(LauncherFile(SourceFile("cluster.yaml", content)))
    assert found is not None and found.severity == "error"
    return found


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"max_workers": "many"}, "max_workers", "must be of type integer, got 'many'"),
        ({"max_workers": -1}, "max_workers", "must be at least 0, got -1"),
        ({"setup_commands": ["a", 5]}, "setup_commands.1", "must be of type string, got 5"),
        ({"max_worker": 8}, "max_worker", "unknown key 'max_worker'; did you mean 'max_workers'?"),
        (
            {"auth": {"ssh_usr": "ubuntu"}},
            "auth.ssh_usr",
            "unknown key 'ssh_usr'; did you mean 'ssh_user'?",
        ),
        ({"docker": {"image": "x"}}, "", "Must provide a container & image name"),
        ({"head_node_type": "heads"}, "", "must be one of"),
    ],
)
def test_rays_complaint_comes_with_its_place(
    change: dict[str, Any], key: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(AWS.read_text()) | change
    before = copy.deepcopy(content)
    found = complaint(content)
    assert found.key == key and message in found.message
    assert content == before
    assert capsys.readouterr() == ("", "")


def test_rays_reason_is_reported_rather_than_the_warning_printed_before_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = complaint(yaml.safe_load(ON_PREMISE.read_text()) | {"max_workers": 1})
    assert "smaller than the sum of `min_workers`" in found.message
    assert capsys.readouterr() == ("", "")


def test_an_on_premise_file_without_addresses_is_refused_in_rays_words() -> None:
    content = yaml.safe_load(ON_PREMISE.read_text())
    del content["provider"]["worker_ips"]
    assert "supply a `head_ip` and list of `worker_ips`" in complaint(content).message
