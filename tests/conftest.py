"""Fixtures every test may use, and which tests run beside each other."""

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.experiments import write_tiny_images
from tests.finished_experiment import experiment, searched, tiny, tiny_searched
from tests.ray_fixtures import faults, local_ray, no_faults

torch.set_num_threads(1)

# Ray's workers yield to every other process, so those of one test would wait for the other tests.
os.environ.update(RAY_worker_niceness="0")

# A loaded machine is slow now and then; what a property test asserts is not time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell's background jobs ignore Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["experiment", "faults", "local_ray", "no_faults", "searched", "tiny", "tiny_searched"]


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains on which a trial takes a moment; for ``tests.experiments.tiny_space_file``."""
    return write_tiny_images(tmp_path_factory.mktemp("tiny"))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which tests must run in one process: those that share what is slow to start.

    A module of scenarios shares its cluster. All other tests that start Ray share one, and run
    beside those that do not.
    """
    if item.get_closest_marker("scenario"):
        item.add_marker(pytest.mark.xdist_group(item.location[0]))
    elif item.get_closest_marker("ray"):
        item.add_marker(pytest.mark.xdist_group("ray"))


def pytest_report_header(config: pytest.Config) -> str:
    """Say what this run leaves out, so that nobody takes one tier for all tests."""
    chosen = config.option.markexpr
    other = "pytest -m scenario" if chosen == "not scenario" else "pytest"
    return f"tests: {chosen or 'all'}" + (f"; the others: {other}" if chosen else "")
