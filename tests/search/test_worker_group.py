"""What a Train run of a search starts."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.train import ScalingConfig
from ray.train.torch import TorchConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from dann_search.search import worker_group
from dann_search.search.messages import Health, RunHealth
from dann_search.search.resources import Plan
from dann_search.search.worker_config import GroupSpec
from dann_search.search.worker_group import (
    MAX_QUICK_FAILURES,
    NEEDLESS,
    Alone,
    LeanTrainer,
    UnregisteredPolicy,
    WorkerGroup,
    backend_of,
)


def test_workers_of_one_trial_are_connected_and_others_are_not() -> None:
    assert isinstance(backend_of(1), Alone)
    connected = backend_of(2)
    assert isinstance(connected, TorchConfig)
    assert connected.backend == "gloo"  # also on GPUs, which slots may share
    backends = [backend_of(workers).backend_cls for workers in (1, 2)]
    assert [backend.share_cuda_visible_devices for backend in backends] == [True, True]


def test_a_run_starts_no_actor_for_data_sets_and_asks_no_autoscaler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: dict[str, Any] = {}

    class Ended:
        error = None

    def note(self: DataParallelTrainer, **parts: Any) -> Ended:
        begun.update(parts)
        return Ended()

    monkeypatch.setattr(DataParallelTrainer, "_initialize_and_run_controller", note)
    scaling = ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1})
    LeanTrainer(print, backend_config=backend_of(1), scaling_config=scaling).fit()
    assert begun["callbacks"]
    assert not any(isinstance(one, NEEDLESS) for one in begun["callbacks"])
    policy = begun["scaling_policy"]
    assert isinstance(policy, UnregisteredPolicy)
    # No coordinator was set up: asking it would fail.
    assert policy.make_decision_for_non_running_worker_group().num_workers == 2


@pytest.mark.parametrize("trained", [True, False])
def test_controllers_that_are_lost_end_their_group_only_if_none_of_them_trained(
    trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = list[str]()

    class Lost(WorkerGroup):
        def _run(self) -> None:
            runs.append(self.run)
            self.closing = len(runs) == 2 * MAX_QUICK_FAILURES
            raise RuntimeError("the controller was lost")

    def ask(method: str, *_: object) -> Health:
        state = RunHealth(idle_s=0, failures=0, error=None, over=False, has_trained=trained)
        return Health(0, dict.fromkeys(runs, state), {}, frozenset(), frozenset())

    monkeypatch.setattr(worker_group, "free_abandoned_placement_groups", lambda: None)
    spec = cast(GroupSpec, SimpleNamespace(dispatcher=SimpleNamespace(ask=ask)))
    group = Lost(spec, cast(Plan, None), name="group", node=None)
    group.start()
    assert group.join(60)
    assert len(runs) == (2 if trained else 1) * MAX_QUICK_FAILURES
    assert (group.error is None) == trained


def test_a_controller_light_trials_and_what_begins_a_search_import_no_torch() -> None:
    code = (
        "import sys; import dann_search.search.worker_group, "
        "dann_search.search.worker, dann_search.search.tune_run, dann_search.api.launching; "
        "assert not {'torch', 'sklearn', 'scipy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
