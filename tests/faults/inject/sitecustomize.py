"""Faults on purpose, brought into processes from outside: the product knows nothing of them.

Python imports this file at start-up where this folder is on PYTHONPATH.

``DANN_TEST_FAULTS`` names a JSON file with a list of faults: {"trial": folder name, "epoch": n,
"kind": "exit" | "raise" | "stall" | "hold", "times": n}. A fault strikes after its trial's first
step of that epoch, so often in all; marker files beside the list count. Who is held continues when
the test says so: there is a file of the list's name with ".go" behind it.

``DANN_TEST_OTHER_DISK`` names a folder that is not on this machine, as it were: a packed store in
it is not seen.

``DANN_TEST_FULL`` names a file; while it is there, nothing can be written safely: no disk has room.
"""

import errno
import importlib.abc
import importlib.machinery
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any


def strike(training: Any, epoch: int) -> None:
    path = os.environ.get("DANN_TEST_FAULTS", "")
    if not path or not os.path.exists(path):
        return
    for index, fault in enumerate(json.loads(pathlib.Path(path).read_text())):
        if fault["trial"] != training.folder.name or fault["epoch"] != epoch:
            continue
        if fault.get("rank", training.ranks.rank) != training.ranks.rank:
            continue
        marks = [f"{path}.{index}.{n}" for n in range(fault["times"])]
        left = [mark for mark in marks if not os.path.exists(mark)]
        if not left:
            continue
        pathlib.Path(left[0]).touch()
        if fault["kind"] == "exit":
            os._exit(1)
        if fault["kind"] == "raise":
            raise ValueError("a fault on purpose")
        if fault["kind"] == "stall":
            time.sleep(3600)
        while fault["kind"] == "hold" and not os.path.exists(f"{path}.go"):
            time.sleep(0.1)


def faulty_epochs(module: Any) -> None:
    """Put the faults after the first step of an epoch, the epoch before being told by then."""
    train_epoch, is_over = module.Training.train_epoch, module.Saving.is_over

    def faulty(self: Any, epoch: int, *arguments: Any) -> Iterator[bool]:
        for number, paused in enumerate(train_epoch(self, epoch, *arguments)):
            yield paused
            if number == 0:
                strike(self, epoch)

    def once_over(self: Any) -> bool:
        while not is_over.fget(self):
            time.sleep(0.01)
        return True

    module.Training.train_epoch = faulty
    module.Saving.is_over = property(once_over)


def hidden_disk(module: Any) -> None:
    """Have stores of the other disk look absent."""
    holds = module._holds

    def sees(folder: pathlib.Path, hashes: Any) -> bool:
        there = folder.is_relative_to(os.environ["DANN_TEST_OTHER_DISK"])
        return not there and bool(holds(folder, hashes))

    module._holds = sees


def full_disk(marker: str) -> None:
    """Have disks be full while the marker is there."""
    fsync = os.fsync

    def full(fd: Any) -> None:
        if os.path.exists(marker):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(fd)

    os.fsync = full


if "DANN_TEST_FULL" in os.environ:
    full_disk(os.environ["DANN_TEST_FULL"])

PATCHES: dict[str, Callable[[Any], None]] = {}
if os.environ.get("DANN_TEST_FAULTS"):
    PATCHES["dann_search.training.loop"] = faulty_epochs
if os.environ.get("DANN_TEST_OTHER_DISK"):
    PATCHES["dann_search.data.node_store"] = hidden_disk


class Finder(importlib.abc.MetaPathFinder):
    """Finds those modules as usual and changes them once they are loaded."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        loader: Any = spec and spec.loader
        load = loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            PATCHES[name](module)

        loader.exec_module = exec_module
        return spec


if PATCHES:
    sys.meta_path.insert(0, Finder())
