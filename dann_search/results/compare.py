"""The winner against its baselines: the same recipe, splits and epochs, several seeds each.

All models are trained, and their checkpoints fixed, before any test label is read.
"""

import hashlib
import json
import os
import signal
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

from rich.console import Group
from rich.table import Table

from dann_search.config.experiment import Experiment
from dann_search.config.trial import Method, TrialConfig
from dann_search.errors import InputError, RunError, nearest
from dann_search.layout import ExperimentFolder
from dann_search.results.best import choose
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


@dataclass(frozen=True)
class Scores:
    """One method's scores on the target's test split, one a seed."""

    f1_macro: list[float]
    accuracy: list[float]
    same_as: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        content: dict[str, Any] = {
            "f1_macro_test": _summary(self.f1_macro),
            "accuracy_test": _summary(self.accuracy),
        }
        return content if self.same_as is None else {**content, "same_as": self.same_as}


def _summary(values: list[float]) -> dict[str, Any]:
    return {"mean": statistics.mean(values), "sd": statistics.stdev(values), "values": values}


@dataclass(frozen=True)
class Comparison:
    """Every method's scores, the winner's first."""

    winner: str
    trial: int
    seeds: list[int]
    methods: dict[str, Scores]

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it."""
        return {
            "methods": {name: scores.to_json() for name, scores in self.methods.items()},
            "trial": self.trial,
            "seeds": self.seeds,
            "verdict": self.verdict(),
        }

    def verdict(self) -> str:
        """Whether the winner is above source-only by more than seeds differ, in one line."""
        if self.winner == "source_only" or "source_only" not in self.methods:
            return f"there is no source_only to compare {self.winner} to"
        mine, base = self.methods[self.winner].f1_macro, self.methods["source_only"].f1_macro
        gap = statistics.mean(mine) - statistics.mean(base)
        noise = max(statistics.stdev(mine), statistics.stdev(base))
        numbers = f"macro-F1 {gap:+.3f}, standard deviation over seeds {noise:.3f}"
        if gap > noise:
            return f"{self.winner} is above source_only: {numbers}"
        if gap > 0:
            return f"{self.winner} is above source_only by no more than seeds differ: {numbers}"
        return f"adaptation does not help here: {self.winner} against source_only {numbers}"

    def render(self) -> Group:
        """The table people read."""
        table = Table(box=None, pad_edge=False)
        table.add_column(f"target test, {len(self.seeds)} seeds")
        for name in ("macro-F1", "accuracy"):
            table.add_column(name, justify="right")
        for name, scores in self.methods.items():
            if scores.same_as:
                note = f"same as {scores.same_as}: no pre-trained weights"
                table.add_row(name, note, "")
                continue
            cells = (
                f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
                for values in (scores.f1_macro, scores.accuracy)
            )
            table.add_row(name, *cells)
        return Group(table, "", self.verdict())


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
        methods: names; by default the winner's method, source_only and from_scratch.
        seeds: runs a method, with seeds the search never used for the winner.
        workers: trainings at once; by default what the machine's CPUs carry.
        progress: told a line for each training that ends.

    Raises:
        InputError: no finished trial, an unknown method, fewer than two seeds.
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
    _train_all(runs, experiment, folder, workers, progress)
    scores: dict[str, Scores] = {}
    for method in names:
        if method not in same:
            mine = [run for run in runs if run.method == method]
            results = [_score(run, experiment, folder) for run in mine]
            scores[method] = Scores([f1 for f1, _ in results], [a for _, a in results])
    for method, other in same.items():
        scores[method] = Scores(scores[other].f1_macro, scores[other].accuracy, same_as=other)
    comparison = Comparison(winner.method, row.number, numbers, scores)
    (folder.compare / "comparison.json").write_text(json.dumps(comparison.to_json(), indent=1))
    return comparison


def _checked(methods: list[str]) -> list[str]:
    known = get_args(Method)
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
    config = winner.model_copy(update={"method": method, "seed": seed})
    recipe = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:8]
    return Run(method, seed, config, folder.compare / f"{method}-seed{seed}-{recipe}")


def _train_all(
    runs: list[Run],
    experiment: Experiment,
    folder: ExperimentFolder,
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
        tasks = {pool.submit(_train, run, folder.data, experiment, threads): run for run in waiting}
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


def _train(run: Run, data: Path, experiment: Experiment, threads: int) -> None:
    """In a process of its own: train to the end, from a checkpoint where there is one."""
    import torch

    from dann_search.data.training_data import open_training_data
    from dann_search.training.loop import train

    torch.set_num_threads(threads)
    run.folder.mkdir(parents=True, exist_ok=True)
    epochs = train(
        run.config,
        open_training_data(data),
        run.folder,
        weights=experiment.weights,
        objective=experiment.search.objective,
    )
    for _ in epochs:
        pass
    (run.folder / DONE).touch()


def _score(run: Run, experiment: Experiment, folder: ExperimentFolder) -> tuple[float, float]:
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
