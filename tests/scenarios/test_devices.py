"""Which GPU each worker of a node trains on, told by a Ray that only believes in six."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.scenario]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the workers of each group told, by the group's name."""
    logs = tmp_path_factory.mktemp("logs")
    inherited = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenarios.fake_gpus", str(logs)],
        env={**inherited, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_each_worker_of_each_slot_has_a_gpu_of_its_own(
    workers: dict[str, list[dict[str, Any]]],
) -> None:
    told = workers["two slots of two workers"]
    assert {(worker["slot"], worker["rank"]) for worker in told} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert sorted(worker["device"] for worker in told) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    # Why the number matters: each of them sees all four.
    (visible,) = {worker["visible"] for worker in told}
    assert len(set(visible.split(","))) == 4


def test_two_slots_share_a_gpu_where_each_takes_half_of_one(
    workers: dict[str, list[dict[str, Any]]],
) -> None:
    told = workers["three slots of half a GPU"]
    assert {worker["slot"] for worker in told} == {0, 1, 2}
    assert Counter(worker["device"] for worker in told) == {"cuda:0": 2, "cuda:1": 1}


def test_a_worker_makes_its_gpu_the_current_one_before_it_joins_a_group(
    workers: dict[str, list[dict[str, Any]]],
) -> None:
    """Every worker of the run takes part in making every slot's groups."""
    groups = {"two slots of two workers": ["new gloo group", "new nccl group"] * 2}
    for name, told in workers.items():
        for worker in told:
            assert worker["calls"] == [f"set {worker['device']}", *groups.get(name, [])]
            assert worker["sum"] == (2 if name in groups else 1)
