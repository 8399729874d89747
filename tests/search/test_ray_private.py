"""What is used of Ray without being public still answers as the version it was written for did."""

import time
from typing import Any

import pytest
import ray
from ray.util import placement_group, placement_group_table, remove_placement_group

from dann_search.search import ray_private
from dann_search.search.nodes import live_nodes

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def test_a_cluster_of_one_node_is_described() -> None:
    (node,) = live_nodes()
    assert ray_private.draining_nodes() == set()
    assert 0 < ray_private.free_resources(node.id)["CPU"] <= node.cpus
    assert ray_private.most_resources() == {}  # no autoscaler
    assert ray_private.HEAD in ray.cluster_resources()
    assert ray_private.local_gpu_count() == 0
    assert node.memory / 2 < ray_private.free_memory() < 2**50  # others run here, too


def test_the_head_of_this_cluster_is_found_and_asked() -> None:
    address = ray.get_runtime_context().gcs_address
    assert ray_private.head_address(address) == address
    assert ray_private.own_token()
    assert ray_private.ask_head(address, ray_private.own_token()) == ray_private.ANSWERED
    assert ray_private.ask_head(address, None) == ray_private.REFUSED
    assert ray_private.ask_head("127.0.0.1:1", None) == "unavailable"


class Maker:
    """Makes a placement group, as the controller of a run does."""

    def make(self) -> Any:
        group = placement_group([{"CPU": 0.01}])
        assert group.wait(60)
        return group


def test_placement_groups_of_actors_that_were_killed_are_removed_and_no_others() -> None:
    maker: Any = ray.remote(num_cpus=0)(Maker)
    alive, dead = maker.remote(), maker.remote()
    kept, left = ray.get([alive.make.remote(), dead.make.remote()])
    own = placement_group([{"CPU": 0.01}])
    ray.kill(dead)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(dead.make.remote())
    until = time.monotonic() + 60
    while placement_group_table(left)["state"] != "REMOVED" and time.monotonic() < until:
        ray_private.free_abandoned_placement_groups()
        time.sleep(0.1)
    states = [placement_group_table(group)["state"] for group in (left, kept, own)]
    assert states == ["REMOVED", "CREATED", "CREATED"]
    for group in (kept, own):
        remove_placement_group(group)
    ray.kill(alive)
