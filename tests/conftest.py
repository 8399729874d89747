"""Fixtures every test may use, and which tests run beside each other."""

import os
import signal

import pytest
import torch
from hypothesis import settings

from tests.ray_fixtures import faults, local_ray, no_faults

torch.set_num_threads(1)

# Ray's workers yield to every other process, so those of one test would wait for the other tests.
os.environ.update(RAY_worker_niceness="0")

# A loaded machine is slow now and then; what a property test asserts is not time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["faults", "local_ray", "no_faults"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests that start Ray run one after another, all others beside them in another process.

    Two of them at once, in a third process, took longer in all: what they wait for is the CPUs.
    """
    if item.get_closest_marker("ray"):
        item.add_marker(pytest.mark.xdist_group("ray"))
