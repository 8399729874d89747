"""The winner against its baselines: the same recipe, splits and epochs, several seeds each.

All models are trained, and their checkpoints fixed, before any test label is read.
"""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import Experiment
from dann_search.config.trial import Method, TrialConfig
from dann_search.data.target_labels import target_train_labels
from dann_search.errors import InputError, RunError, nearest
from dann_search.layout import ExperimentFolder
from dann_search.results.best import choose
from dann_search.results.comparison import SUPERVISED, Comparison, Scores
from dann_search.results.reader import read_experiment, read_trials

DONE = "done"
"""File in a run's folder that says all its epochs are trained."""


@dataclass(frozen=True)
class Run:
    """One training of the comparison."""

    method: str
    seed: int
    config: TrialConfig
    folder: Path


def compare(
    folder: ExperimentFolder,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    workers: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Train the winner and its baselines anew and score them on the target's test split.

    Every run has the winner's recipe but for method and seed; its model is the best epoch by the
    search's objective. A run that was finished before is not trained again, one that was cut off
    goes on.

    Args:
        folder: the experiment.
        methods: names; by default the winner's method, source_only and from_scratch. The upper
            bound target_supervised reads the labels of the target's training images.
        seeds: runs a method, with seeds the search never used for the winner.
        workers: trainings at once; by default what the machine's CPUs carry.
        progress: told a line for each training that ends.

    Raises:
        InputError: no finished trial, an unknown method, fewer than two seeds, or labels of the
        target that cannot be had for target_supervised.
        RunError: a training failed.
    """
    experiment = read_experiment(folder)
    row = choose(read_trials(folder), folder, 1, None)
    winner = TrialConfig(**row.config)
    names = _checked(list(methods or dict.fromkeys([winner.method, "source_only", "from_scratch"])))
    if seeds < 2:
        raise InputError(f"compare needs at least 2 seeds for a deviation, got {seeds}")
    numbers = [winner.seed + 1 + number for number in range(seeds)]
    same = _same_as(winner, names, experiment)
    runs = [
        _planned(folder, winner, method, seed)
        for method in names
        if method not in same
        for seed in numbers
    ]
    labels = None
    if SUPERVISED in names:
        labels = target_train_labels(experiment.data, folder.data)
    _train_all(runs, experiment, folder, labels, workers, progress)
    scores: dict[str, Scores] = {}
    for method in names:
        if method not in same:
            mine = [run for run in runs if run.method == method]
            results = [score_run(run, experiment, folder) for run in mine]
            scores[method] = Scores([f1 for f1, _ in results], [a for _, a in results])
    for method, other in same.items():
        scores[method] = Scores(scores[other].f1_macro, scores[other].accuracy, same_as=other)
    comparison = Comparison(winner.method, row.number, numbers, scores)
    (folder.compare / "comparison.json").write_text(json.dumps(comparison.to_json(), indent=1))
    return comparison


def _checked(methods: list[str]) -> list[str]:
    known = (*get_args(Method), SUPERVISED)
    for method in methods:
        if method not in known:
            raise InputError(f"unknown method '{method}'; {nearest(method, known)}")
    return methods


def _same_as(winner: TrialConfig, methods: list[str], experiment: Experiment) -> dict[str, str]:
    """Without pre-trained weights, from scratch is source-only of full depth: not trained twice."""
    from dann_search.models.build import uses_pretrained
    from dann_search.models.registry import spec_of

    plain = winner.model_copy(update={"method": "source_only"})
    stages = len(spec_of(winner.backbone).stages)
    whole = winner.unfrozen_depth is None or winner.unfrozen_depth >= stages
    same = whole and not uses_pretrained(plain, experiment.weights)
    both = "source_only" in methods and "from_scratch" in methods
    return {"from_scratch": "source_only"} if both and same else {}


def _planned(folder: ExperimentFolder, winner: TrialConfig, method: str, seed: int) -> Run:
    trained_as = "source_only" if method == SUPERVISED else method
    config = winner.model_copy(update={"method": trained_as, "seed": seed})
    recipe = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    return Run(method, seed, config, folder.compare / f"{method}-seed{seed}-{recipe}")


def _train_all(
    runs: list[Run],
    experiment: Experiment,
    folder: ExperimentFolder,
    target_labels: NDArray[np.int64] | None,
    workers: int | None,
    progress: Callable[[str], None],
) -> None:
    threads = experiment.resources.cpus_per_worker
    waiting = [run for run in runs if not (run.folder / DONE).exists()]
    ready = len(runs) - len(waiting)
    if ready:
        progress(f"{ready} of {len(runs)} trainings are there from before")
    at_once = max(1, workers or len(os.sched_getaffinity(0)) // threads)
    # Spawned, not forked: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(at_once, get_context("spawn"), initializer=_end_on_interrupt)
    try:
        tasks = {}
        for run in waiting:
            labels = target_labels if run.method == SUPERVISED else None
            task = pool.submit(_train, run, folder.data, experiment, threads, labels)
            tasks[task] = run
        for number, task in enumerate(as_completed(tasks), ready + 1):
            run = tasks[task]
            if (error := task.exception()) is not None:
                raise RunError(f"training {run.method} with seed {run.seed} failed: {error}")
            progress(f"trained {run.method}, seed {run.seed} ({number} of {len(runs)})")
    finally:
        pool.shutdown(cancel_futures=True)


def _end_on_interrupt() -> None:
    """A Ctrl-C reaches every process of the terminal: trainings end without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _train(
    run: Run,
    store: Path,
    experiment: Experiment,
    threads: int,
    target_labels: NDArray[np.int64] | None,
) -> None:
    """In a process of its own: train to the end, from a checkpoint where there is one."""
    import torch

    from dann_search.data.training_data import open_training_data
    from dann_search.training.loop import train

    torch.set_num_threads(threads)
    run.folder.mkdir(parents=True, exist_ok=True)
    data = open_training_data(store)
    if target_labels is not None:
        data = replace(
            data,
            source_images=data.target_images,
            source_labels=torch.from_numpy(target_labels),
            source_val_images=data.val_images,
            source_val_labels=data.val_labels,
            # Not looked at, but counted: an epoch has as many steps as the winner's.
            target_images=data.source_images,
        )
    epochs = train(
        run.config,
        data,
        run.folder,
        weights=experiment.weights,
        objective=experiment.search.objective,
    )
    for _ in epochs:
        pass
    (run.folder / DONE).touch()


def score_run(run: Run, experiment: Experiment, folder: ExperimentFolder) -> tuple[float, float]:
    """Macro-F1 and accuracy of a finished run's best epoch on the target's test split."""
    import torch

    from dann_search.data.store import open_labels
    from dann_search.data.training_data import as_tensor, open_training_data
    from dann_search.models.build import build_network
    from dann_search.models.registry import spec_of
    from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network
    from dann_search.training.loop import input_side
    from dann_search.training.metrics import classification_metrics
    from dann_search.training.predict import predict_logits

    data = open_training_data(folder.data)
    network = build_network(run.config, data.classes, experiment.weights)
    restore_network(network, load_checkpoint(run.folder / BEST), run.folder / BEST)
    logits = predict_logits(
        network,
        as_tensor(folder.data, "target", "test"),
        spec_of(run.config.backbone, experiment.weights),
        input_side(run.config, data),
        torch.device("cpu"),
    )
    labels = open_labels(folder.data, "target", "test")
    metrics = classification_metrics(labels, logits.argmax(1).numpy(), data.classes)
    return metrics.f1_macro, metrics.accuracy
