"""Small real experiments for tests: embedded digits, a few epochs, and what they leave."""

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import torch.distributed as dist
import yaml
from optuna.trial import TrialState
from PIL import Image
from torch.multiprocessing.spawn import spawn

from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.training_data import open_training_data
from dann_search.models.registry import stage_counts
from dann_search.search.executor import ON_THIS_MACHINE, Executor
from dann_search.search.launch import Outcome, prepare, search
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.observer import Observer
from dann_search.training.loop import train
from dann_search.training.ranks import Ranks

TIMINGS = {"images_per_s", "seconds"}
"""Fields of an epoch that no two runs share."""


def space_file(folder: Path, **changes: Any) -> Path:
    """Write a small experiment file; ``changes`` are dotted keys with ``__`` for the dots."""
    content: dict[str, Any] = {
        "name": "small",
        "data": {
            "source": {"dataset": "digits"},
            "target": {"dataset": "digits-m"},
            "image_size": 16,
        },
        "training": {
            "backbone": "dann_cnn",
            "epochs": 3,
            "pretrained": False,
            "bottleneck": 16,
            "discriminator_width": 16,
            "batch_size": 64,
        },
        "search": {"trials": 4, "scheduler": "none", "sampler": "random"},
        "space": {
            "lambda_schedule": {"choice": ["constant", "ganin"]},
            "lambda_gamma": {"loguniform": [3, 20]},
            "learning_rate": {"loguniform": [0.01, 0.1]},
            "unfrozen_depth": {"int": [1, 3]},
        },
        "storage": str(folder / "runs"),
    }
    for key, value in changes.items():
        node, *names = content, *key.split("__")
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = value
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def write_tiny_images(root: Path, classes: int = 3, each: int = 16) -> Path:
    """Two domains of coloured squares, some 100 images of 8 x 8: an epoch takes 50 ms."""
    rng = np.random.default_rng(0)
    for domain, shade in (("source", 160), ("target", 120)):
        for label in range(classes):
            folder = root / domain / f"class-{label}"
            folder.mkdir(parents=True)
            for number in range(each):
                pixels = rng.integers(0, 90, (8, 8, 3))
                pixels[2:6, 2:6, label] += shade
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


def tiny_space_file(folder: Path, images: Path, **changes: Any) -> Path:
    """Write an experiment file on the tiny images; ``changes`` as of ``space_file``."""
    tiny = {
        "name": "tiny",
        "data__source": {"folder": str(images / "source")},
        "data__target": {"folder": str(images / "target")},
        "training__batch_size": 16,
        "training__bottleneck": 8,
        "training__discriminator_width": 8,
    }
    return space_file(folder, **{**tiny, **changes})


class Reports(Observer):
    """Counts how often each epoch of each trial was told, and how trials ended."""

    def __init__(self) -> None:
        self.steps: Counter[tuple[int, int]] = Counter()
        self.ends: Counter[tuple[int, str]] = Counter()

    def epochs_done(self, number: int, history: Sequence[dict[str, Any]], known: int) -> None:
        self.steps.update((number, epoch["epoch"]) for epoch in history[known:])

    def trial_ended(self, number: int, state: str, error: str | None) -> None:
        self.ends[number, state] += 1


def run_search(
    path: Path, observer: Observer | None = None, executor: Executor = ON_THIS_MACHINE
) -> tuple[Outcome, list[optuna.trial.FrozenTrial]]:
    """Begin a search from this process, or continue with it; return the study's trials.

    By default it is on the Ray that this process is connected to.
    """
    experiment, space = load_experiment(path, stage_counts())
    folder = ExperimentFolder.at(experiment.place)
    if not folder.record.exists():
        prepare(experiment, space)
    made = observer or Observer()
    with DriverLock(folder) as lock:
        outcome = search(experiment, space, folder, lambda _, __: made, lock, executor=executor)
    return outcome, study_trials(folder)


def study_trials(folder: ExperimentFolder) -> list[optuna.trial.FrozenTrial]:
    """The trials that plain Optuna finds in an experiment's study."""
    url = f"sqlite:///{folder.study}"
    (name,) = optuna.get_all_study_names(url)
    return optuna.load_study(study_name=name, storage=url).trials


def epochs_in_study(folder: ExperimentFolder) -> int:
    """Count the epochs that a study holds, of all trials; 0 before there is one."""
    return rows_in_study(folder, "trial_intermediate_values")


def rows_in_study(folder: ExperimentFolder, rows: str) -> int:
    """Count rows of a table of the study; ``rows`` may say which: ``trials WHERE …``.

    For tests that wait: it takes a millisecond, where Optuna takes fifty from those they wait for.
    """
    with (
        suppress(sqlite3.OperationalError),  # there is no study, or it is being made
        closing(sqlite3.connect(f"{folder.study.as_uri()}?mode=ro", uri=True)) as study,
    ):
        count: int = study.execute(f"SELECT COUNT(*) FROM {rows}").fetchone()[0]
        return count
    return 0


def retrain(folder: ExperimentFolder, config: dict[str, Any], where: Path) -> list[dict[str, Any]]:
    """Train a recipe without interruption in this process; its epochs without their timings."""
    where.mkdir(parents=True)
    history = list(train(TrialConfig(**config), open_training_data(folder.data), where))[-1]
    return [without_timings(asdict(result)) for result in history]


def retrain_together(
    folder: ExperimentFolder, configs: Sequence[dict[str, Any]], where: Path, workers: int
) -> list[list[dict[str, Any]]]:
    """Train recipes as ``retrain`` does, each with so many workers: sums of floats differ."""
    where.mkdir(parents=True)
    spawn(  # type: ignore[no-untyped-call]
        _one_of_several, args=(workers, folder, configs, where), nprocs=workers
    )
    return [json.loads((where / f"{n}.json").read_text()) for n in range(len(configs))]


def _one_of_several(
    rank: int, workers: int, folder: ExperimentFolder, configs: list[dict[str, Any]], where: Path
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{where}/met", rank=rank, world_size=workers
    )
    ranks, data = Ranks(rank, workers, dist.group.WORLD), open_training_data(folder.data)
    for number, config in enumerate(configs):
        (place := where / str(number)).mkdir(exist_ok=True)
        history = list(train(TrialConfig(**config), data, place, ranks=ranks))[-1]
        if ranks.is_chief:
            told = [without_timings(asdict(result)) for result in history]
            (where / f"{number}.json").write_text(json.dumps(told))
    dist.barrier()
    os._exit(0)  # as in tests/training/test_ranks.py


def saved_history(folder: ExperimentFolder, number: int) -> list[dict[str, Any]]:
    """The epochs in a trial's record or, where it continues, its last checkpoint; no timings."""
    from dann_search.results.epochs import read_epochs

    return [without_timings(epoch) for epoch in read_epochs(folder, number)]


def assert_exact(folder: ExperimentFolder, again: Path, workers: int = 1) -> None:
    """Assert that every trial came to the numbers of a training that nothing disturbed."""
    trials = study_trials(folder)
    configs = [trial.user_attrs["config"] for trial in trials]
    if workers == 1:
        undisturbed = [retrain(folder, one, again / str(n)) for n, one in enumerate(configs)]
    else:
        undisturbed = retrain_together(folder, configs, again, workers)
    for number, (trial, history) in enumerate(zip(trials, undisturbed, strict=True)):
        assert (trial.number, trial.state) == (number, TrialState.COMPLETE)
        assert saved_history(folder, number) == history
        scores = {epoch["epoch"]: epoch["f1_macro_val"] for epoch in history}
        assert trial.intermediate_values == scores
        assert trial.value == max(scores.values())


def without_timings(epoch: dict[str, Any]) -> dict[str, Any]:
    """An epoch's reproducible fields."""
    return {name: value for name, value in epoch.items() if name not in TIMINGS}


def write_faults(path: Path, *faults: dict[str, Any]) -> None:
    """Name the faults that the next trainings meet."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    path.write_text(json.dumps(faults))
