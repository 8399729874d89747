"""A node whose environment reports another torch: brought in from outside, as in tests/faults.

Python imports this file at start-up where this folder is on PYTHONPATH.
"""

import importlib.metadata
import os

version, other = importlib.metadata.version, os.environ.get("DANN_TEST_TORCH_VERSION")


def reported(distribution_name: str) -> str:
    """The version of a package, but for torch."""
    return other if other and distribution_name == "torch" else version(distribution_name)


importlib.metadata.version = reported
