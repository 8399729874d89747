"""Fixtures every test may use, and which tests run beside each other."""

import os
import signal

import pytest
import torch

from tests.ray_fixtures import faults, local_ray, no_faults

torch.set_num_threads(1)

# Ray's workers yield to every other process, so those of one test would wait for the other tests.
os.environ.update(RAY_worker_niceness="0")

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["faults", "local_ray", "no_faults"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Three processes: tests of clusters, tests with a Ray of their own, and all others.

    Those that start Ray run one after another, since each is given all the CPUs; two at a time,
    because half of such a test is waiting.
    """
    if item.get_closest_marker("ray"):
        group = "clusters" if "cluster" in item.path.parts else "ray"
        item.add_marker(pytest.mark.xdist_group(group))
