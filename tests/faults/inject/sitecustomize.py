"""Faults on purpose, brought into worker processes from outside: the product knows nothing of them.

Python imports this file at start-up where this folder is on PYTHONPATH. ``DANN_TEST_FAULTS`` names
a JSON file with a list of faults: {"trial": folder name, "epoch": n, "kind": "exit" | "raise" |
"stall", "times": n}. A fault strikes as its trial begins that epoch, so often in all; marker files
beside the list count.
"""

import importlib.abc
import importlib.machinery
import json
import os
import pathlib
import sys
import time
from typing import Any

MODULE = "dann_search.training.loop"


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


class Finder(importlib.abc.MetaPathFinder):
    """Finds the training loop as usual and puts the faults around its epochs."""

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        loader: Any = spec and spec.loader
        load = loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            train_epoch = module.Training.train_epoch

            def faulty(self: Any, epoch: int, *arguments: Any) -> bool:
                strike(self, epoch)
                done: bool = train_epoch(self, epoch, *arguments)
                return done

            module.Training.train_epoch = faulty

        loader.exec_module = exec_module
        return spec


if os.environ.get("DANN_TEST_FAULTS"):
    sys.meta_path.insert(0, Finder())
