"""The fleet ends only with the last of its threads: Ray forgives none that outlives it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.exceptions import NodeDiedError

from dann_search.config.data import DataConfig, DomainConfig
from dann_search.config.experiment import ResourcesConfig
from dann_search.data.node_store import StoreSpec
from dann_search.errors import RunError
from dann_search.search.dispatcher import Dispatcher
from dann_search.search.fleet import Fleet
from dann_search.search.messages import ActorCalls
from dann_search.search.nodes import NODE_ID, Node
from dann_search.search.slot_worker import WorkerConfig
from dann_search.search.worker_group import GroupSpec, WorkerGroup, _Blame
from tests.drivers import LIMIT_S

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

GONE = Node("f" * 56, "spot", cpus=2, gpus=0, memory=2**30)


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[GroupSpec]:
    dispatcher = Dispatcher.remote(3, 64)
    digits = DomainConfig(dataset="digits")
    data = DataConfig(source=digits, target=digits.model_copy(update={"dataset": "digits-m"}))
    store = StoreSpec(str(tmp_path), data, 32, {})
    yield GroupSpec(ActorCalls(dispatcher), WorkerConfig({}, "f1_macro", store), 60.0, tmp_path)
    ray.kill(dispatcher)


def test_a_fleet_has_ended_only_when_the_runs_of_lost_nodes_have(
    spec: GroupSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_by_train, told = threading.Event(), list[str]()
    monkeypatch.setattr(WorkerGroup, "_run", lambda group: seen_by_train.wait())
    resources = ResourcesConfig(gpus_per_worker=0)
    fleet = Fleet(spec, resources, elastic=True, wanted=2, tell=told.append)
    plan = fleet.placement.on_node(GONE, 1) or fleet.placement.one_trial
    fleet._begin(GONE, plan)
    fleet._remove_ended(alive=set())
    assert told[-1] == "node spot/ffffff is gone"
    assert fleet.slots == 0
    fleet.close(pause=False)
    assert not fleet.join(0.1)
    seen_by_train.set()
    assert fleet.join(10)


def test_groups_over_nodes_that_always_fail_end_the_search(
    spec: GroupSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(group: WorkerGroup) -> None:
        group.error = "workers could not be started"

    monkeypatch.setattr(WorkerGroup, "_keep_up", fail)
    told = list[str]()
    resources = ResourcesConfig(gpus_per_worker=0, workers_per_trial=2, across_nodes=True)
    fleet = Fleet(spec, resources, elastic=True, wanted=1, tell=told.append)
    for _ in range(20):
        fleet._look()
        for group in fleet.groups.values():
            assert group.join(10)
        if fleet.error:
            break
    fleet.close(pause=False)
    assert fleet.error == "trials over several nodes: workers could not be started"
    assert len(told) == 1
    assert fleet.join(10)


def test_groups_over_nodes_are_not_placed_on_one_that_lacks_something(
    spec: GroupSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerGroup, "_keep_up", lambda group: None)
    resources = ResourcesConfig(gpus_per_worker=0, workers_per_trial=2, across_nodes=True)
    fleet = Fleet(spec, resources, elastic=True, wanted=1, tell=lambda line: None)
    here = ray.get_runtime_context().get_node_id()
    spec.dispatcher.ask("cannot_train", "run", GONE.id, "its disk is full")
    fleet._look()
    (group,) = fleet.groups.values()
    assert group.labels == {NODE_ID: f"!in({GONE.id})"}
    spec.dispatcher.ask("cannot_train", "run", here, "its disk is full")
    fleet._look()
    fleet._look()
    assert not fleet.groups  # the only node is no place any more
    fleet.close(pause=False)
    assert fleet.join(10)


def test_a_lost_dispatcher_ends_the_search_with_its_reason(tmp_path: Path, spec: GroupSpec) -> None:
    resources = ResourcesConfig(gpus_per_worker=0)
    fleet = Fleet(spec, resources, elastic=False, wanted=1, tell=lambda line: None)
    assert not fleet.has_lost_dispatcher()
    ray.kill(spec.dispatcher.actor)
    until = time.monotonic() + LIMIT_S
    # A busy Ray calls a killed actor unavailable first.
    while not fleet.has_lost_dispatcher() and time.monotonic() < until:
        time.sleep(0.1)
    assert fleet.error and fleet.error.startswith("the search's dispatcher was lost: ")
    fleet.close(pause=False)
    assert fleet.join(10)


def test_a_run_whose_node_is_gone_ends_and_one_whose_worker_died_goes_on(spec: GroupSpec) -> None:
    blame = _Blame("run", spec.dispatcher, workers=1, node=GONE)
    blame.after_exception(None, {0: RuntimeError("worker died")})
    with pytest.raises(RunError, match="node spot/ffffff is gone"):
        blame.after_exception(None, {0: NodeDiedError("gone")})
    spanning = _Blame("run", spec.dispatcher, workers=2, node=None)
    spanning.after_exception(None, {0: NodeDiedError("gone")})


@pytest.mark.parametrize(
    ("elastic", "wanted", "most", "expected"),
    [
        (True, 300, {"CPU": 380.0}, 200),  # a worker reserves 0.95 of its two CPUs
        (True, 100, {"CPU": 400.0}, 100),
        (True, 300, {"CPU": float(2**63)}, 300),
        (True, 300, {}, 0),
        (False, 300, {"CPU": 400.0}, 0),
    ],
)
def test_an_elastic_cluster_that_begins_with_no_slot_is_judged_by_what_may_come(
    spec: GroupSpec,
    monkeypatch: pytest.MonkeyPatch,
    elastic: bool,
    wanted: int,
    most: dict[str, float],
    expected: int,
) -> None:
    monkeypatch.setattr("dann_search.search.placement.most_resources", lambda: most)
    resources = ResourcesConfig(cpus_per_worker=2, gpus_per_worker=0)
    nothing = Fleet(spec, resources, elastic=elastic, wanted=wanted, tell=lambda line: None)
    assert nothing.slots == 0
    assert nothing.most_slots == expected
