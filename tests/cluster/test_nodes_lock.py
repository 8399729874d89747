"""The pinned packages of cluster nodes are those that pyproject.toml and the cluster files want."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "docs" / "cluster" / "nodes.txt"
FILES = ["cluster.yaml", "docs/cluster/gcp.yaml", "docs/cluster/on_premise.yaml"]
PIN = re.compile(r"(?<![\w.-])([A-Za-z][\w.-]*)(?:\[[\w,]*\])?==([\w.]+)")


def pins(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(text)}


def test_every_requirement_is_met_by_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    stated = [*project["dependencies"], *extras["s3"], *extras["gcs"], *extras["cluster"]]
    wanted = (ROOT / "docs" / "cluster" / "nodes.in").read_text().splitlines()
    stated += [line for line in wanted if not line.startswith("#")]
    locked = pins(LOCK.read_text())
    for requirement in map(Requirement, stated):
        version = locked.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("file", FILES)
def test_a_cluster_file_installs_what_is_locked(file: str) -> None:
    text = (ROOT / file).read_text()
    assert "nodes.txt" in text and "dann_search.search.launch" in text
    locked = pins(LOCK.read_text())
    assert (stated := pins(text))
    assert {name: locked.get(name) for name in stated} == stated
