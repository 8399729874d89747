"""What is used of Ray without being public still answers as the version it was written for did."""

import pytest
import ray

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
