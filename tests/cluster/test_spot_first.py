"""Ray's choice of node types, with and without the scorer that `cluster.yaml` names."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.node_provider_availability_tracker import (
    NodeProviderAvailabilityTracker,
)
from ray.autoscaler._private.resource_demand_scheduler import (
    _default_utilization_scorer,
    get_nodes_for,
)
from ray.autoscaler.node_launch_exception import NodeLaunchException

from dann_search.cluster import spot_first

TYPES = yaml.safe_load((Path(__file__).parents[2] / "cluster.yaml").read_text())[
    "available_node_types"
]
TRIAL = {"CPU": 3.8, "GPU": 1.0}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> NodeProviderAvailabilityTracker:
    return NodeProviderAvailabilityTracker(timer=clock)


def refuse(tracker: NodeProviderAvailabilityTracker, name: str, at: float) -> None:
    """Record a refusal as Ray's launcher does."""
    error = NodeLaunchException("InsufficientInstanceCapacity", "no spot capacity", None)
    tracker.update_node_availability(name, int(at), error)


def chosen(
    tracker: NodeProviderAvailabilityTracker, demands: list[dict[str, float]], scorer: Any
) -> dict[str, int]:
    summary = partial(scorer, node_availability_summary=tracker.summary())
    nodes, _ = get_nodes_for(TYPES, {"head": 1}, "head", 99, demands, summary)
    return dict(nodes)


def test_spot_nodes_come_first(tracker: NodeProviderAvailabilityTracker) -> None:
    assert chosen(tracker, [TRIAL] * 3, spot_first.score) == {"gpu_spot": 3}


def test_on_demand_nodes_stand_in_for_half_an_hour_after_a_refusal(
    tracker: NodeProviderAvailabilityTracker, clock: Clock
) -> None:
    refuse(tracker, "gpu_spot", clock.now)
    # Ray's own scorer asks for the same type again, which is why we have one.
    assert chosen(tracker, [TRIAL], _default_utilization_scorer) == {"gpu_spot": 1}
    assert chosen(tracker, [TRIAL], spot_first.score) == {"gpu_on_demand": 1}
    clock.now += 31 * 60
    assert chosen(tracker, [TRIAL], spot_first.score) == {"gpu_spot": 1}


def test_what_was_refused_is_asked_for_where_nothing_else_is_left(
    tracker: NodeProviderAvailabilityTracker, clock: Clock
) -> None:
    refuse(tracker, "gpu_spot", clock.now)
    # max_workers of the on-demand type is 2.
    assert chosen(tracker, [TRIAL] * 3, spot_first.score) == {"gpu_on_demand": 2, "gpu_spot": 1}


def test_a_demand_that_fits_no_type_gets_no_node(tracker: NodeProviderAvailabilityTracker) -> None:
    assert chosen(tracker, [{"GPU": 4.0}], spot_first.score) == {}


def test_the_name_in_cluster_yaml_is_that_of_the_scorer() -> None:
    from ray.autoscaler._private.loader import load_function_or_class

    from dann_search.cluster.file.capacity import SCORER

    assert load_function_or_class(SCORER.partition("=")[2]) is spot_first.score
