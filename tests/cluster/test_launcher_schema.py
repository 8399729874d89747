"""The shipped cluster files pass Ray's own validation; our list of keys is Ray's."""

import copy
import json
import re
import socket
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import dann_search
from dann_search.cluster.file.keys.launcher import (
    AUTH,
    COMMON,
    DOCKER,
    GCP,
    LAUNCHER,
    LOCAL,
    NODE_TYPE,
    OTHER_PROVIDERS,
    PROVIDERS,
)
from dann_search.cluster.launcher_schema import ray_says
from dann_search.cluster.validate_cluster import validate_cluster
from dann_search.config.source import SourceFile
from tests.cluster.file.broken import AWS, ON_PREMISE, ROOT
from tests.cluster.file.broken import GCP as GCP_FILE
from tests.experiments import space_file

FILES = [AWS, GCP_FILE, ON_PREMISE]
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking a cloud is a failure."""

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
    assert validate_cluster(file) == []
    storage = {"cluster.yaml": "s3://bucket/runs", "gcp.yaml": "gs://bucket/runs"}
    space = space_file(tmp_path, resources={"cpus_per_worker": 4})
    assert validate_cluster(file, space, storage.get(file.name, "/shared/runs")) == []


def test_a_trial_over_several_nodes_needs_no_node_that_holds_it_alone(tmp_path: Path) -> None:
    resources = {"workers_per_trial": 2, "cpus_per_worker": 4, "across_nodes": True}
    space = space_file(tmp_path, resources=resources)
    assert validate_cluster(AWS, space, "s3://bucket/runs") == []


def test_the_watch_in_a_shipped_file_is_one_that_there_is() -> None:
    from dann_search.cluster import spot_notice
    from dann_search.cluster.file.spot import WATCH

    assert spot_notice.__name__ == WATCH
    for file, cloud in ((AWS, "aws"), (GCP_FILE, "gcp")):
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


def test_our_keys_are_those_of_rays_schema() -> None:
    top = SCHEMA["properties"]
    assert LAUNCHER.keys() == top.keys()
    assert AUTH.keys() == top["auth"]["properties"].keys()
    assert DOCKER.keys() == top["docker"]["properties"].keys()
    node_type = top["available_node_types"]["patternProperties"][".*"]["properties"]
    assert NODE_TYPE.keys() == node_type.keys()
    docker = node_type["docker"]["properties"]
    assert NODE_TYPE["docker"].keys() == docker.keys()  # type: ignore[attr-defined]
    for provider in (GCP, LOCAL):
        # Of the provider's keys the schema names some of each kind, and allows all.
        assert {"type", "region"} < COMMON.keys() < provider.keys()


def test_our_providers_are_rays() -> None:
    from ray.autoscaler._private.providers import _NODE_PROVIDERS

    assert {*PROVIDERS, *OTHER_PROVIDERS} <= _NODE_PROVIDERS.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_workers": "many"}, (("max_workers",), "must be of type integer, got 'many'")),
        ({"max_workers": -1}, (("max_workers",), "must be at least 0, got -1")),
        ({"setup_commands": ["a", 5]}, (("setup_commands", 1), "must be of type string, got 5")),
        ({"docker": {"image": "x"}}, ((), "Must provide a container & image name")),
    ],
)
def test_what_ray_says_comes_with_its_place(
    change: dict[str, Any], said: tuple[tuple[str, ...], str], capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(AWS.read_text()) | change
    before = copy.deepcopy(content)
    ((path, message),) = ray_says(SourceFile("cluster.yaml", content))
    assert path == said[0]
    assert said[1] in message
    assert content == before
    assert capsys.readouterr() == ("", "")


def test_rays_reason_is_taken_rather_than_the_warning_that_it_prints_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = yaml.safe_load(ON_PREMISE.read_text()) | {"max_workers": 1}
    ((_, message),) = ray_says(SourceFile("cluster.yaml", content))
    assert "smaller than the sum of `min_workers`" in message
    assert capsys.readouterr() == ("", "")


def test_an_on_premise_file_without_addresses_is_refused_in_rays_words() -> None:
    content = yaml.safe_load(ON_PREMISE.read_text())
    del content["provider"]["worker_ips"]
    ((_, message),) = ray_says(SourceFile("cluster.yaml", content))
    assert "supply a `head_ip` and list of `worker_ips`" in message
