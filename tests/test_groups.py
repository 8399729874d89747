"""Tests that start Ray run one after another, in a process apart from those that do not."""

import os

import pytest


@pytest.mark.ray
def test_a_test_that_starts_ray_is_in_the_group_of_those(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs all tests (-n 0)")
    # Some pytest ignores what xdist does to node ids; two searches would then share two CPUs.
    assert request.node.nodeid.endswith("@ray")
