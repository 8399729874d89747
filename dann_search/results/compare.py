"""The winner against its baselines: the same recipe, splits and epochs, several seeds each.

All models are trained, and their checkpoints fixed, before any test label is read.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from dann_search.config.experiment import Experiment
from dann_search.config.trial import Method, TrialConfig
from dann_search.data.target_labels import write_supervised_store
from dann_search.errors import InputError, nearest
from dann_search.layout import ExperimentFolder
from dann_search.results.best import choose
from dann_search.results.comparison import SUPERVISED, Comparison, Scores
from dann_search.results.reader import read_experiment, read_trials
from dann_search.training.job import TrainAll, TrainingJob


@dataclass(frozen=True)
class Run:
    """One training of the comparison."""

    method: str
    seed: int
    config: TrialConfig
    folder: Path


def compare(
    folder: ExperimentFolder,
    train_all: TrainAll,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
) -> Comparison:
    """Train the winner and its baselines anew and score them on the target's test split.

    Every run has the winner's recipe but for method and seed; its model is the best epoch by the
    search's objective. A run that was finished before is not trained again, one that was cut off
    goes on.

    Args:
        folder: the experiment.
        train_all: trains what is planned here.
        methods: names; by default the winner's method, source_only and from_scratch. The upper
            bound target_supervised reads the labels of the target's training images.
        seeds: runs a method, with seeds the search never used for the winner.

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
    with _stores(folder, experiment, names) as stores:
        jobs = [_job(run, stores.get(run.method, folder.data)) for run in runs]
        train_all(jobs, experiment)
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


@contextmanager
def _stores(
    folder: ExperimentFolder, experiment: Experiment, methods: Sequence[str]
) -> Iterator[dict[str, Path]]:
    """Packed stores of the methods that are not trained on the experiment's own, while needed."""
    if SUPERVISED not in methods:
        yield {}
        return
    with write_supervised_store(
        experiment.data, folder.data, folder.compare / f"{SUPERVISED}-data"
    ) as store:
        yield {SUPERVISED: store}


def _job(run: Run, store: Path) -> TrainingJob:
    return TrainingJob(
        name=f"{run.method}, seed {run.seed}",
        config=run.config,
        folder=run.folder,
        store=store,
        epochs=run.config.epochs,
    )


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
