"""The fleet ends only with the last of its threads: Ray forgives none that outlives it."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import NodeDiedError

from dann_search.config.experiment import ExperimentConfig
from dann_search.data.node_store import StoreSpec
from dann_search.errors import RunError
from dann_search.search.executor import Work
from dann_search.search.fleet import Fleet
from dann_search.search.nodes import NODE_ID, Node
from dann_search.search.worker_group import WorkerGroup, _Blame
from tests.drivers import LIMIT_S

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

GONE = Node("f" * 56, "spot", cpus=2, gpus=0, memory=2**30)
SPANNING = {"workers_per_trial": 2, "across_nodes": True}
MakeFleet = Callable[..., Fleet]


@pytest.fixture
def told() -> list[str]:
    """What the fleet says."""
    return []


@pytest.fixture
def make(tmp_path: Path, told: list[str]) -> Iterator[MakeFleet]:
    """Makes a fleet that has not started, from ``wanted`` trials and settings of resources."""
    made: list[Fleet] = []

    def make(wanted: int = 1, elastic: bool = True, **resources: Any) -> Fleet:
        content = {
            "name": "fleet",
            "data": {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}},
            "training": {"backbone": "dann_cnn"},
            "resources": {"gpus_per_worker": 0, **resources},
        }
        experiment = ExperimentConfig.model_validate(content)
        work = Work(
            experiment=experiment,
            store=StoreSpec(str(tmp_path), experiment.data, 32, {}),
            logs=tmp_path,
            wanted=wanted,
            interrupt=threading.Event(),
            tell=told.append,
        )
        made.append(Fleet(work, elastic=elastic))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close(pause=False)
        assert fleet.join(10)
        ray.kill(fleet.dispatcher.actor)


def test_a_fleet_has_ended_only_when_the_runs_of_lost_nodes_have(
    make: MakeFleet, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_by_train = threading.Event()
    monkeypatch.setattr(WorkerGroup, "_run", lambda group: seen_by_train.wait())
    fleet = make(wanted=2)
    fleet._begin(GONE, fleet.placement.one_trial)
    fleet._remove_ended(alive=set())
    assert told[-1] == "node spot/ffffff is gone"
    assert fleet.slots == 0
    fleet.close(pause=False)
    assert not fleet.join(0.1)
    seen_by_train.set()
    assert fleet.join(10)


def test_groups_over_nodes_that_always_fail_end_the_search(
    make: MakeFleet, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(group: WorkerGroup) -> None:
        group.error = "workers could not be started"

    monkeypatch.setattr(WorkerGroup, "_keep_up", fail)
    fleet = make(**SPANNING)
    for _ in range(20):
        fleet._look()
        for group in fleet.groups.values():
            assert group.join(10)
        if fleet.error:
            break
    assert fleet.error == "trials over several nodes: workers could not be started"
    assert len(told) == 1


def test_groups_over_nodes_are_not_placed_on_one_that_lacks_something(
    make: MakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerGroup, "_keep_up", lambda group: None)
    fleet = make(**SPANNING)
    here = ray.get_runtime_context().get_node_id()
    fleet.dispatcher.ask("cannot_train", "run", GONE.id, "its disk is full")
    fleet._look()
    (group,) = fleet.groups.values()
    assert group.labels == {NODE_ID: f"!in({GONE.id})"}
    fleet.dispatcher.ask("cannot_train", "run", here, "its disk is full")
    fleet._look()
    fleet._look()
    assert not fleet.groups  # the only node is no place any more


def test_a_lost_dispatcher_ends_the_search_with_its_reason(make: MakeFleet) -> None:
    fleet = make(elastic=False)
    assert not fleet.has_lost_dispatcher()
    ray.kill(fleet.dispatcher.actor)
    until = time.monotonic() + LIMIT_S
    # A busy Ray calls a killed actor unavailable first.
    while not fleet.has_lost_dispatcher() and time.monotonic() < until:
        time.sleep(0.1)
    assert fleet.error and fleet.error.startswith("the search's dispatcher was lost: ")


def test_a_run_whose_node_is_gone_ends_and_one_whose_worker_died_goes_on(make: MakeFleet) -> None:
    dispatcher = make().dispatcher
    blame = _Blame("run", dispatcher, workers=1, node=GONE)
    blame.after_exception(None, {0: RuntimeError("worker died")})
    with pytest.raises(RunError, match="node spot/ffffff is gone"):
        blame.after_exception(None, {0: NodeDiedError("gone")})
    spanning = _Blame("run", dispatcher, workers=2, node=None)
    spanning.after_exception(None, {0: NodeDiedError("gone")})


def test_an_elastic_cluster_that_begins_with_no_slot_is_judged_by_what_may_come(
    make: MakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for elastic, wanted, most, expected in (
        (True, 300, {"CPU": 380.0}, 200),  # a worker reserves 0.95 of its two CPUs
        (True, 100, {"CPU": 400.0}, 100),
        (True, 300, {"CPU": float(2**63)}, 300),
        (True, 300, {}, 0),
        (False, 300, {"CPU": 400.0}, 0),
    ):
        monkeypatch.setattr("dann_search.search.placement.most_resources", lambda most=most: most)
        fleet = make(wanted, elastic, cpus_per_worker=2)
        assert (fleet.slots, fleet.most_slots) == (0, expected)
