"""The memory of a search's trials decides how many of them train at once."""

import math
from pathlib import Path
from typing import Any

import pytest

from dann_search.config.data import DataConfig
from dann_search.config.experiment import ResourcesConfig
from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.search import placement, trial_memory
from dann_search.search.nodes import Node, smallest_gpu
from dann_search.search.resources import (
    GIB,
    LIGHT_BYTES,
    Need,
    explain_plan,
    make_plan,
    room_for_trials,
)
from dann_search.search.trial_memory import TrialMemory, largest_recipes, plan_here
from tests.experiments import space_file

VGG = Need("vgg16 at 224 px with batch_size 32", int(6.1 * GIB))
SIXTEEN = 16.0 * GIB


def plan_words(resources: ResourcesConfig, need: Need, memory: float, cpus: int = 8) -> str:
    plan = make_plan(resources, cpus, 0, memory, need=need)
    return explain_plan(resources, plan, need, memory)


@pytest.mark.parametrize(
    ("settings", "memory", "slots", "threads"),
    [
        ({}, 16, 2, 4),  # not eight, of which six would be killed
        ({}, 64, 8, 1),
        ({}, 4, 1, 8),  # one is tried, even so
        ({"workers_per_trial": 2}, 32, 2, 2),
        ({"max_parallel_trials": 4}, 16, 4, 1),
        ({"memory_per_worker_gib": 2.0}, 16, 8, 1),  # the user knows better
        ({"cpus_per_worker": 3}, 16, 2, 3),
    ],
)
def test_where_memory_binds_there_are_fewer_slots_with_more_threads(
    settings: dict[str, Any], memory: int, slots: int, threads: int
) -> None:
    resources = ResourcesConfig.model_validate({"gpus_per_worker": 0, **settings})
    plan = make_plan(resources, 8, 0, memory * float(GIB), need=VGG)
    assert (plan.slots, plan.cpus_per_worker) == (slots, threads)
    if settings.keys() <= {"workers_per_trial"} and memory > 4:
        taken = plan.slots * (plan.workers_per_trial * VGG.memory + LIGHT_BYTES)
        assert taken <= room_for_trials(memory * float(GIB))
        assert plan.slots * plan.workers_per_trial * plan.cpus_per_worker <= 8


def test_the_last_trials_of_a_search_have_the_threads_of_the_others() -> None:
    plan = make_plan(ResourcesConfig(), 8, 0, SIXTEEN, need=VGG, most=1)
    assert (plan.slots, plan.cpus_per_worker) == (1, 4)


@pytest.mark.parametrize(
    ("share", "gpu_gib", "slots", "granted"),
    [(0.25, 80, 8, 0.25), (0.25, 24, 4, 0.5), (0.25, 10, 2, 1.0), (0.25, 4, 2, 1.0)],
)
def test_trials_share_a_gpu_only_as_far_as_its_memory_goes(
    share: float, gpu_gib: int, slots: int, granted: float
) -> None:
    need = Need("vgg16", 3 * GIB, gpu_memory=9 * GIB)
    resources = ResourcesConfig(gpus_per_worker=share)
    plan = make_plan(resources, 16, 2, 128.0 * GIB, need=need, gpu_memory=gpu_gib * float(GIB))
    assert (plan.slots, plan.gpus_per_worker) == (slots, granted)


def test_the_plan_is_said_with_what_it_rests_on() -> None:
    automatic = ResourcesConfig(gpus_per_worker=0)
    assert plan_words(automatic, VGG, SIXTEEN) == (
        "2 slots of 4 threads: a trial of vgg16 at 224 px with batch_size 32 needs up to 6.5 GB, "
        "and there are 15.2 GB for trials"
    )
    four = plan_words(automatic.model_copy(update={"max_parallel_trials": 4}), VGG, SIXTEEN)
    assert "4 of them (resources.max_parallel_trials) need 26.2 GB" in four
    assert "it may be killed: lower batch_size" in plan_words(automatic, VGG, 4.0 * GIB)


def test_the_largest_recipe_of_each_backbone_is_planned_for(tmp_path: Path) -> None:
    space = {
        "backbone": {"choice": ["resnet18", "dann_cnn"]},
        "unfrozen_depth": {"int": [0, 5]},
        "batch_size": {"choice": [8, 32, 16]},
        "precision": {"choice": ["fp32", "bf16"]},
        "method": {"choice": ["source_only", "dann"]},
        "learning_rate": {"loguniform": [1e-4, 1e-2]},
    }
    fixed = {"training": {"epochs": 3, "bottleneck": 16}, "data__image_size": 64}
    file = space_file(tmp_path, space=space, **fixed)
    experiment, found = load_experiment(file, stage_counts(), check_files=False)
    shape = [
        (c.backbone, c.unfrozen_depth, c.batch_size, c.precision, c.method)
        for c in largest_recipes(found)
    ]
    assert shape == [
        ("resnet18", 5, 32, "fp32", "dann"),
        ("dann_cnn", 3, 32, "fp32", "dann"),
    ]
    memory = TrialMemory(ResourcesConfig(gpus_per_worker=0), experiment.data)
    need = memory.largest(largest_recipes(found))
    assert need is not None and need.what.endswith(" at 64 px with batch_size 32")
    assert need.memory == max(memory.of(config)[0] for config in largest_recipes(found))
    assert " at 64 px with batch_size 32 needs" in plan_here(experiment, found)
    assert plan_here(experiment, found, "auto") == trial_memory.CLUSTER  # it may have GPUs


DIGITS = DataConfig.model_validate(
    {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}, "image_size": 28}
)


def test_networks_that_see_crops_are_estimated_at_their_size() -> None:
    crops = DIGITS.model_copy(update={"crop_size": 20})
    of = [
        trial_memory.TrialMemory(ResourcesConfig(gpus_per_worker=0), data).of(
            TrialConfig(backbone="dann_mnist")
        )
        for data in (DIGITS, crops)
    ]
    assert of[0][0] > of[1][0] > 0
    assert of[1][1] == "dann_mnist at 20 px with batch_size 32"


def test_a_backbone_that_cannot_be_estimated_is_planned_by_cpus(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", trial_memory.__name__)

    def needs_data(*arguments: Any, **options: Any) -> None:
        raise NotImplementedError("no data on the meta device")

    monkeypatch.setattr("dann_search.training.memory.peak_of", needs_data)
    memory = trial_memory.TrialMemory(ResourcesConfig(gpus_per_worker=0), DIGITS)
    config = TrialConfig(backbone="dann_cnn")
    assert memory.of(config) == (0, "dann_cnn")
    assert memory.largest([config]) is None
    assert "no data on the meta device" in caplog.text


def node(gibibytes: float, gpus: float = 0.0) -> Node:
    return Node("a" * 56, "host", cpus=8, gpus=gpus, memory=gibibytes * GIB)


def test_a_node_is_planned_by_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "free_resources", lambda node: {"CPU": 8.0, "GPU": 2.0})
    cpus = placement.Placement(ResourcesConfig(gpus_per_worker=0), VGG)
    shapes = [
        (plan.slots, plan.cpus_per_worker)
        for gibibytes in (16, 32, 64)
        if (plan := cpus.on_node(node(gibibytes), 100))
    ]
    assert shapes == [(2, 4), (4, 2), (8, 1)]


def test_the_gpus_of_a_node_are_asked_for_their_memory_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def answer(node: str, question: object, unknown: float) -> float:
        asked.append((node, question))
        return 24.0 * GIB

    monkeypatch.setattr(placement, "free_resources", lambda node: {"CPU": 8.0, "GPU": 2.0})
    monkeypatch.setattr(placement, "ask_node", answer)
    shared = placement.Placement(
        ResourcesConfig(gpus_per_worker=0.25), Need("vgg16", 3 * GIB, gpu_memory=9 * GIB)
    )
    for _ in range(2):
        plan = shared.on_node(node(64, gpus=2), 100)
        assert plan is not None and (plan.slots, plan.gpus_per_worker) == (4, 0.5)
    assert asked == [("a" * 56, smallest_gpu)]


@pytest.mark.parametrize(
    ("said", "expected"), [("81559\n24564\n", 24564.0 * 2**20), ("no devices", math.inf)]
)
def test_the_smallest_gpu_is_what_the_driver_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, expected: float
) -> None:
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert smallest_gpu() == expected
    stand_in.write_text("#!/bin/sh\nexit 9\n")
    assert smallest_gpu() == math.inf


def test_with_a_gpu_its_memory_is_part_of_the_plan() -> None:
    need = Need("vgg16", 3 * GIB, gpu_memory=9 * GIB)
    resources = ResourcesConfig(gpus_per_worker=1)
    plan = make_plan(resources, 8, 2, 64.0 * GIB, need=need)
    assert explain_plan(resources, plan, need, 64.0 * GIB).startswith(
        "2 slots of 1 thread and 1 GPU: a trial of vgg16 needs up to 3.2 GB, and 9.7 GB of a GPU"
    )
