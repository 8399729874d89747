"""How a machine is divided into slots."""

from pathlib import Path

import pytest

from dann_search.config.experiment import ResourcesConfig
from dann_search.errors import InputError
from dann_search.search.resources import CPU_SHARE, cpu_count, make_plan, oom_kills


@pytest.mark.parametrize(
    ("settings", "cpus", "gpus", "slots", "gpu"),
    [
        ({}, 2, 0, 2, 0),
        ({}, 16, 1, 1, 1),
        ({"workers_per_trial": 2}, 2, 0, 1, 0),
        ({"workers_per_trial": 2}, 5, 0, 2, 0),
        ({"max_parallel_trials": 3}, 8, 0, 3, 0),
        ({"max_parallel_trials": 99}, 8, 0, 8, 0),
        ({"gpus_per_worker": 0}, 8, 4, 8, 0),
        ({"gpus_per_worker": 0.25}, 16, 2, 8, 0.25),
        ({"gpus_per_worker": 0.6}, 16, 2, 2, 0.6),  # what is left of two GPUs is no third
        ({"gpus_per_worker": 0.4}, 16, 3, 6, 0.4),
        ({"cpus_per_worker": 4, "workers_per_trial": 2}, 16, 8, 2, 1),
    ],
)
def test_slots_fill_the_machine(
    settings: dict[str, float], cpus: int, gpus: int, slots: int, gpu: float
) -> None:
    plan = make_plan(ResourcesConfig.model_validate(settings), cpus, gpus)
    assert (plan.slots, plan.gpus_per_worker) == (slots, gpu)
    assert plan.slots * plan.workers_per_trial * plan.worker_resources["CPU"] < cpus


def test_a_trial_larger_than_the_machine_is_refused() -> None:
    with pytest.raises(InputError, match="needs 8 CPUs, this machine has 2"):
        make_plan(ResourcesConfig(workers_per_trial=4, cpus_per_worker=2), 2, 0)
    across = ResourcesConfig(workers_per_trial=4, cpus_per_worker=2, across_nodes=True)
    with pytest.raises(InputError, match="name the cluster on whose nodes they fit: --address"):
        make_plan(across, 2, 0)
    with pytest.raises(InputError, match="needs 2 GPUs, this machine has 1"):
        make_plan(ResourcesConfig(workers_per_trial=2, gpus_per_worker=1), 8, 1)
    with pytest.raises(InputError, match="cannot share a GPU"):
        make_plan(ResourcesConfig(workers_per_trial=2, gpus_per_worker=0.5), 8, 1)


def test_a_share_of_a_gpu_is_of_one_that_is_free() -> None:
    plan = make_plan(ResourcesConfig(gpus_per_worker=0.4), 16, 4)
    assert plan.slots == 8
    free = {"CPU": 16.0, "GPU": 1.6}
    assert plan.slots_in(free) == 3
    assert plan.slots_in({**free, "GPU": 0.3}) == 0
    one = ResourcesConfig(gpus_per_worker=0.4, max_parallel_trials=1)
    assert make_plan(one, float("inf"), float("inf")).slots == 1


def test_light_trials_fit_beside_the_workers() -> None:
    plan = make_plan(ResourcesConfig(), 2, 0)
    assert 2 - plan.slots * CPU_SHARE > plan.slots * 0.001


def test_a_machine_of_which_nothing_is_known_has_no_kills_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = {"linux": "pgfault 12\noom_kill 3\n", "old": "pgfault 12\n"}
    monkeypatch.setattr(Path, "read_text", lambda path: texts["linux"])
    assert oom_kills() == 3
    monkeypatch.setattr(Path, "read_text", lambda path: texts["old"])
    assert oom_kills() == 0

    def fail(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", fail)
    assert oom_kills() == 0


def test_this_machine_has_a_cpu() -> None:
    assert cpu_count() >= 1
