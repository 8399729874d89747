"""What nodes install is what is tested: the pins of the cluster files are CI's."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "docs" / "cluster"
FILES = [ROOT / "cluster.yaml", *sorted(CLUSTER.glob("*.yaml")), ROOT / "docs" / "cluster.md"]
# Its nodes run the image of the Dockerfile, which has the versions of the lock.
FILES[FILES.index(CLUSTER / "rayjob.yaml")] = CLUSTER / "nodes.txt"
PIN = re.compile(r"\b(torch|torchvision|optuna|ray)(?:\[[\w,]+\])?==([\d.]*\d)")
CONSTRAINTS = dict(PIN.findall((ROOT / ".ci" / "constraints.txt").read_text()))


def test_ci_fixes_torch() -> None:
    assert CONSTRAINTS.keys() == {"torch", "torchvision"}


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_cluster_gets_the_versions_of_ci(file: Path) -> None:
    text = file.read_text()
    pins = PIN.findall(text)
    # What CI does not fix is as this environment, made by it, has it.
    assert pins == [(name, CONSTRAINTS.get(name) or version(name)) for name, _ in pins] != []
    for tag in re.findall(r"rayproject/ray:([\d.]+)-", text):
        assert tag == version("ray")
