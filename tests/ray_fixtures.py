"""One Ray for all tests that need one: two CPUs, its workers open to faults on purpose."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

INJECT = Path(__file__).parent / "faults" / "inject"


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that names faults for worker processes; see tests/experiments.write_faults."""
    return tmp_path_factory.mktemp("faults") / "faults.json"


@pytest.fixture(scope="session")
def local_ray(faults: Path) -> Iterator[None]:
    """A Ray of two CPUs that the searches of this process join."""
    changed = {"PYTHONPATH": str(INJECT), "DANN_TEST_FAULTS": str(faults)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    from dann_search.search.ray_session import ray_session

    try:
        with ray_session(cpus=2):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@pytest.fixture
def no_faults(faults: Path) -> Iterator[None]:
    """Forget the faults of a test after it."""
    yield
    for old in faults.parent.glob("*"):
        old.unlink()
