"""Linux, macOS, and a clear message where neither is."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dann_search.data.store import open_images, pack
from dann_search.search import slot_worker
from dann_search.search.resources import cpu_count, oom_kills
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.study_storage import is_shared
from tests.data.images import write_domain

PACKAGE = Path(__file__).parents[1] / "dann_search"
WITHOUT_FCNTL = "import sys; sys.modules['fcntl'] = None; "
LINUX_ONLY = {
    "/proc": {
        "cluster/doctor/judge.py",
        "search/precisions.py",
        "search/resources.py",
        "storage/driver_lock.py",
        "study/study_storage.py",
    },
    "/sys/fs": {"search/resources.py"},
    "/dev/shm": {"cluster/doctor/judge.py", "cluster/doctor/probe.py"},
    "malloc_trim": {"search/slot_worker.py"},
    "sched_getaffinity": {"search/resources.py"},
    "posix_fallocate": {"data/feature_folder.py", "data/pixels.py"},
    "prctl": set(),
    "import resource": set(),
}
"""What macOS lacks, and the files that do without it there."""


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


def test_a_command_on_windows_ends_with_one_message() -> None:
    done = python(f"{WITHOUT_FCNTL}import runpy; runpy.run_module('dann_search', alter_sys=True)")
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: dann-search runs on Linux and macOS, and on Windows in WSL")


def test_python_on_windows_gets_the_same_message() -> None:
    done = python(f"{WITHOUT_FCNTL}import dann_search; dann_search.load_model('best')")
    assert done.returncode == 1
    assert "InputError: dann-search runs on Linux and macOS" in done.stderr.splitlines()[-1]


def test_what_only_linux_has_is_used_where_it_may_be_missing() -> None:
    found: dict[str, set[str]] = {name: set() for name in LINUX_ONLY}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name, files in found.items():
            if name in text:
                files.add(str(path.relative_to(PACKAGE)))
    assert found == LINUX_ONLY


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc and /sys, CPU affinity, glibc's malloc_trim, and fallocate."""
    read = Path.read_text

    def read_text(path: Path, *args: str, **kwargs: str) -> str:
        if path.parts[:2] in (("/", "proc"), ("/", "sys")):
            raise FileNotFoundError(path)
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())


@pytest.mark.usefixtures("macos")
def test_on_macos_what_only_linux_has_is_done_without(tmp_path: Path) -> None:
    assert cpu_count() == os.cpu_count()
    assert oom_kills() == 0
    assert not is_shared(tmp_path)
    slot_worker._give_back_heap()
    with DriverLock(ExperimentFolder(tmp_path)):
        pass


@pytest.mark.usefixtures("macos")
def test_on_macos_images_are_packed(tmp_path: Path) -> None:
    from dann_search.config.data import DataConfig

    for name in ("source", "target"):
        write_domain(tmp_path / name, {"a": 9, "b": 9}, seed=len(name))
    config = DataConfig.model_validate(
        {name: {"folder": str(tmp_path / name)} for name in ("source", "target")}
    )
    info = pack(config, 16, tmp_path / "store")
    images = open_images(tmp_path / "store", "target", "train")
    assert len(images) == info.sizes["target"]["train"] and np.any(images)
