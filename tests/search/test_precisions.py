"""What the precision ``auto`` stands for, and that trials keep it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dann_search.config.load import load_experiment
from dann_search.errors import InputError
from dann_search.evaluation.tuning import plan_searches
from dann_search.models.registry import stage_counts
from dann_search.search import precisions, trial_memory
from dann_search.search.launch import prepare
from dann_search.search.precisions import in_words, remembered_ratio, settled_precisions
from dann_search.study.record import (
    SettledPrecision,
    rewrite_record,
    with_recorded_precisions,
)
from dann_search.study.study import StudyRecord
from dann_search.study.study_names import CONFIG
from tests.experiments import space_file, tiny_space_file
from tests.studies import take

BACKBONES = {"choice": ["dann_cnn", "dann_mnist"]}


def settled(tmp_path: Path, address: str = "local", **changes: Any) -> dict[str, SettledPrecision]:
    """What ``auto`` stands for in a small experiment."""
    if "training" not in changes:
        changes["training__precision"] = "auto"
    file = space_file(tmp_path, **changes)
    return settled_precisions(*load_experiment(file, stage_counts()), address)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "local_gpu_count", lambda: 0)


def a_cpu(monkeypatch: pytest.MonkeyPatch, knows_bf16: bool, ratios: dict[str, float]) -> list[str]:
    """Have the CPU know bf16 or not, and steps take so long in it; return what was timed."""
    timed: list[str] = []

    def ratio(recipe: Any, side: int) -> float:
        timed.append(f"{recipe.backbone} {side}")
        return ratios[recipe.backbone]

    monkeypatch.setattr(precisions, "_cpu_knows_bf16", lambda: knows_bf16)
    monkeypatch.setattr(precisions, "step_ratio", ratio)
    return timed


def gpus(monkeypatch: pytest.MonkeyPatch, *found: tuple[str, tuple[int, int]]) -> None:
    """Have this machine these GPUs, each a name and a compute capability."""
    monkeypatch.setattr(precisions, "local_gpu_count", lambda: len(found))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: found[n][0])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda n: found[n][1])


def test_nothing_is_timed_where_a_precision_is_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = a_cpu(monkeypatch, True, {"dann_cnn": 0.5})
    experiment, space = load_experiment(space_file(tmp_path), stage_counts())
    assert settled_precisions(experiment, space) == {} and not timed


@pytest.mark.usefixtures("no_gpu")
def test_on_a_cpu_that_knows_bf16_the_time_of_steps_decides_for_each_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    a_cpu(monkeypatch, True, {"dann_cnn": 0.52, "dann_mnist": 0.95})
    found = settled(tmp_path, space__backbone=BACKBONES, training={"precision": "auto"})
    assert {name: one.precision for name, one in found.items()} == {
        "dann_cnn": "bf16",
        "dann_mnist": "fp32",  # a twentieth is less than what two measurements differ by
    }
    assert in_words(found) == (
        "precision bf16 for dann_cnn: a step in bf16 takes 0.52 of one in fp32 here, "
        "fp32 for dann_mnist: a step in bf16 takes 0.95 of one in fp32 here"
    )


@pytest.mark.usefixtures("no_gpu")
def test_on_any_other_cpu_it_is_fp32_and_nothing_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = a_cpu(monkeypatch, False, {})
    assert settled(tmp_path)["dann_cnn"].precision == "fp32" and not timed


@pytest.mark.usefixtures("no_gpu")
def test_a_backbone_whose_steps_cannot_be_timed_trains_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    a_cpu(monkeypatch, True, {})
    found = settled(tmp_path)["dann_cnn"]
    assert found == SettledPrecision("fp32", "its steps cannot be timed before the search")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("NVIDIA A100", (8, 0))], "bf16"),
        ([("NVIDIA H200", (9, 0)), ("NVIDIA H200", (9, 0))], "bf16"),
        ([("Tesla T4", (7, 5))], "fp32"),
        ([("NVIDIA A100", (8, 0)), ("Tesla T4", (7, 5))], "fp32"),  # a trial may get either
    ],
)
def test_on_gpus_the_oldest_decides(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: list[tuple[str, tuple[int, int]]],
    expected: str,
) -> None:
    gpus(monkeypatch, *found)
    timed = a_cpu(monkeypatch, True, {"dann_cnn": 0.5 if expected == "fp32" else 2.0})
    assert settled(tmp_path)["dann_cnn"].precision == expected and not timed


def test_trials_on_cpus_of_a_machine_with_gpus_are_decided_for_by_its_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, ("NVIDIA A100", (8, 0)))
    a_cpu(monkeypatch, False, {})
    assert settled(tmp_path, resources__gpus_per_worker=0)["dann_cnn"].precision == "fp32"


@pytest.mark.parametrize(("kind", "expected"), [("A100", "bf16"), ("T4", "fp32"), (None, "fp32")])
def test_of_a_cluster_the_file_says_what_gpus_it_has(
    tmp_path: Path, kind: str | None, expected: str
) -> None:
    found = settled(tmp_path, "auto", resources__accelerator_type=kind)["dann_cnn"]
    assert found.precision == expected
    assert kind is not None or "accelerator_type" in found.why


def test_steps_are_timed_once_for_a_backbone_on_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    timed = a_cpu(monkeypatch, True, {"dann_cnn": 0.5})
    _, space = load_experiment(space_file(tmp_path), stage_counts())
    ratios = [remembered_ratio(space.fixed, side) for side in (16, 16, 32)]
    assert timed == ["dann_cnn 16", "dann_cnn 32"] and set(ratios) == {0.5}
    monkeypatch.setattr(precisions, "_processor", lambda: "another")
    remembered_ratio(space.fixed, 16)
    assert timed[2:] == ["dann_cnn 16"]
    for count, broken in enumerate(["{", "[]", '{"ratio": null}', "{}"], 4):
        for file in (tmp_path / "cache" / "dann-search" / "precision").iterdir():
            file.write_text(broken)
        assert remembered_ratio(space.fixed, 16) == 0.5 and len(timed) == count


def test_a_ratio_is_that_of_real_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "SECONDS", 0.01)
    _, space = load_experiment(space_file(tmp_path), stage_counts())
    assert precisions.step_ratio(space.fixed, 16) > 0


def test_auto_is_not_searched(tmp_path: Path) -> None:
    file = space_file(tmp_path, space__precision={"choice": ["fp32", "auto"]})
    with pytest.raises(InputError, match=r"space\.precision\.choice\.1: 'auto' stands for one"):
        load_experiment(file, stage_counts())


@pytest.mark.usefixtures("no_gpu")
def test_trials_keep_their_precision_when_they_are_resumed_on_another_machine(
    tmp_path: Path, tiny_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    a_cpu(monkeypatch, True, {"dann_cnn": 0.5})
    file = tiny_space_file(tmp_path, tiny_images, training__precision="auto")
    experiment, space = load_experiment(file, stage_counts())
    folder = prepare(experiment, space)
    record = StudyRecord(experiment, space, folder)
    begun, failed = take(record), take(record)
    record.fail(failed.number, "RuntimeError: by its own fault")
    record.close()
    a_cpu(monkeypatch, False, {})  # where it is resumed
    rewrite_record(experiment, folder)
    record = StudyRecord(experiment, space, folder, retry_failed=True)
    again = [take(record) for _ in range(3)]
    assert [one.number for one in again[:2]] == [begun.number, 2] and again[1].retries == 1
    assert {one.config.precision for one in (begun, failed, *again)} == {"bf16"}
    trials = record.study.get_trials(deepcopy=False)
    assert {trial.user_attrs[CONFIG]["precision"] for trial in trials} == {"bf16"}
    record.close()
    recipes = trial_memory.largest_recipes(with_recorded_precisions(space, folder))
    assert [one.precision for one in recipes] == ["bf16"]  # slots are planned for it
    searches = plan_searches(folder, experiment, "dann", ["source_only"], 1, folder.data, {})
    assert searches["source_only"].precisions["dann_cnn"].precision == "bf16"
