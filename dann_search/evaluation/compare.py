"""Train the winner and its baselines on the same splits, budget and seeds, and compare them.

All models are trained and their checkpoints fixed before any test label is read.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import Experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.store import open_labels, read_info
from dann_search.data.target_labels import write_supervised_store
from dann_search.errors import InputError, RunError
from dann_search.evaluation.baselines import SUPERVISED, checked, default_methods, effective, recipe
from dann_search.evaluation.comparison import steps, verdict
from dann_search.evaluation.comparison_tables import write_comparison
from dann_search.evaluation.fairness import fairness
from dann_search.evaluation.method_scores import score_methods
from dann_search.evaluation.paired_bootstrap import RESAMPLES
from dann_search.outputs.comparison import Comparison, MethodScores
from dann_search.results.choose import choose
from dann_search.results.reader import TrialRow, read_experiment, read_trials
from dann_search.results.store import packed_store
from dann_search.storage.compare_lock import alone, remove_left_labels
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import recorded_store
from dann_search.training.job import Failures, TrainAll, TrainingJob


@dataclass(frozen=True)
class BaselineRun:
    """One training of the comparison."""

    method: str
    seed: int
    config: TrialConfig
    folder: Path

    @property
    def name(self) -> str:
        """Name of the run in progress lines and errors."""
        return f"{self.method}, seed {self.seed}"


@dataclass(frozen=True)
class TrainingPlan:
    """Runs by method, one per seed; ``same_as`` names methods that share another method's runs."""

    runs: dict[str, list[BaselineRun]]
    same_as: dict[str, str]


def compare(
    folder: ExperimentFolder,
    train_all: TrainAll,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
) -> Comparison:
    """Train the winner and its baselines anew and score them on the target's test split.

    The model of a run is its best epoch by the search's objective. Runs that finished before, on
    any machine, are not trained again; runs that were interrupted here continue. Methods whose
    recipes are equivalent share their runs.

    Args:
        folder: the experiment.
        train_all: trains the planned runs.
        methods: names; by default the winner's method, source_only, adabn, lambda_0 if the winner
            adapts, frozen_features if the backbone has pre-trained weights, from_scratch and
            tllib_dann. The upper bound target_supervised reads the labels of the target's
            training images.
        seeds: runs per method, with seeds that the search never used for the winner.

    Raises:
        InputError: no trial has finished, the target has no labels, a search or a comparison is
            still running, a method is unknown, there are fewer than two seeds, or
            target_supervised cannot get the target's labels.
        RunError: a training of the winner failed; failed baselines are left out.
    """
    named = checked(methods or [])
    if seeds < 2:
        raise InputError(f"compare needs at least 2 seeds for a deviation, got {seeds}")
    _refuse_while_searching(folder)
    experiment, rows = read_experiment(folder), read_trials(folder)
    row = choose(rows, folder, 1, None)
    _refuse_without_labels(folder)
    winner = TrialConfig(**row.config)
    names = named or default_methods(winner, experiment.weights)
    numbers = _new_seeds(row, rows, seeds)
    store = packed_store(folder)
    plan = _plan(folder, experiment, winner, names, numbers, _steps(winner, store))
    with alone(folder), _stores(folder, experiment, store, names) as stores:
        jobs = _jobs(folder, plan, stores, store)
        failures = train_all(jobs, experiment)
    failed = _failed(plan, names, failures)
    names = [name for name in names if name not in failed]
    if winner.method in failed or not names:
        raise RunError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    scores = _scored(store, experiment, plan, names, winner.method)
    info = read_info(store)
    comparison = Comparison(
        methods=scores,
        winner=winner.method,
        trial=row.number,
        seeds=numbers,
        n_test=info.sizes["target"]["test"],
        resamples=RESAMPLES,
        verdict=verdict(winner.method, scores),
        fairness=fairness(experiment, rows, winner, names, numbers, info),
        failed=failed,
    )
    write_comparison(comparison, folder)
    return comparison


def _failed(plan: TrainingPlan, names: Sequence[str], failures: Failures) -> dict[str, str]:
    """Return methods with a failed training, and why: a mean over the other runs would flatter."""
    failed = {}
    for name in names:
        runs = plan.runs[plan.same_as.get(name, name)]
        if reasons := [failures[run.name] for run in runs if run.name in failures]:
            count = f"{len(reasons)} of {len(runs)} trainings failed"
            failed[name] = f"{count}, the first: {reasons[0]}"
    return failed


def _scored(
    store: Path, experiment: Experiment, plan: TrainingPlan, names: Sequence[str], winner: str
) -> dict[str, MethodScores]:
    """Score every method; all runs have ended, and only here are test labels read."""
    wanted = dict.fromkeys(plan.same_as.get(name, name) for name in names)
    trained = {
        method: np.stack([predict_run(run, experiment, store) for run in plan.runs[method]])
        for method in wanted
    }
    labels = open_labels(store, "target", "test")
    class_names = read_info(store).class_names
    predictions = {name: trained[plan.same_as.get(name, name)] for name in names}
    scores = score_methods(
        labels, predictions, class_names, winner, steps=steps(winner, names, plan.same_as)
    )
    return {
        name: one.model_copy(
            update={
                "same_as": plan.same_as.get(name),
                "runs": [run.folder.name for run in plan.runs[plan.same_as.get(name, name)]],
            }
        )
        for name, one in scores.items()
    }


def _new_seeds(winner: TrialRow, rows: Sequence[TrialRow], count: int) -> list[int]:
    """Return seeds that did not choose the winner: neither its own nor those that confirmed it."""
    used = {row.config["seed"] for row in rows if winner.number in (row.number, row.confirms)}
    free = (seed for seed in itertools.count(winner.config["seed"] + 1) if seed not in used)
    return list(itertools.islice(free, count))


def _refuse_while_searching(folder: ExperimentFolder) -> None:
    if driver_is_alive(folder):
        raise InputError(
            f"{folder}: the search is still running, so its winner is not known yet; "
            f"watch it with: dann-search status {folder}"
        )


def _refuse_without_labels(folder: ExperimentFolder) -> None:
    info = recorded_store(folder)
    if not info.target_labelled:
        raise InputError(
            f"{folder}: the target {info.domains['target']} has no labels, and compare needs those "
            "of its test split: scores without labels rank trials of one method, and cannot tell "
            "which method is better. Label some of its images, put them with the others into a "
            "manifest and search again, or measure this winner alone: "
            f"dann-search evaluate {folder} --data FOLDER"
        )


def _plan(
    folder: ExperimentFolder,
    experiment: Experiment,
    winner: TrialConfig,
    names: Sequence[str],
    seeds: Sequence[int],
    steps: int,
) -> TrainingPlan:
    plan = TrainingPlan({}, {})
    first: dict[Path, str] = {}
    for method in names:
        runs = [planned_run(folder, experiment, winner, method, seed, steps) for seed in seeds]
        if (other := first.setdefault(runs[0].folder, method)) != method:
            plan.same_as[method] = other
        else:
            plan.runs[method] = runs
    return plan


def _steps(config: TrialConfig, store: Path) -> int:
    """Return the steps of a whole training."""
    from dann_search.data.batches import steps_per_epoch

    source, target = (read_info(store).sizes[role]["train"] for role in ("source", "target"))
    return config.epochs * steps_per_epoch(source, target, config.batch_size)


def planned_run(
    folder: ExperimentFolder,
    experiment: Experiment,
    winner: TrialConfig,
    method: str,
    seed: int,
    steps: int,
) -> BaselineRun:
    """Return a method's run; its folder is named after everything that decides the outcome."""
    config = recipe(winner, method, seed, experiment.weights, steps)
    decides = effective(config, experiment.weights)
    trained_as = SUPERVISED if method == SUPERVISED else decides.method
    digest = hashlib.sha256(decides.model_dump_json().encode()).hexdigest()[:8]
    return BaselineRun(method, seed, config, folder.compare / f"{trained_as}-seed{seed}-{digest}")


@contextmanager
def _stores(
    folder: ExperimentFolder, experiment: Experiment, store: Path, methods: Sequence[str]
) -> Iterator[dict[str, Path]]:
    """Provide packed stores for methods that do not train on the experiment's own store."""
    remove_left_labels(folder)
    if SUPERVISED not in methods:
        yield {}
        return
    with write_supervised_store(experiment.data, store, folder.supervised_data) as supervised:
        yield {SUPERVISED: supervised}


def _jobs(
    experiment: ExperimentFolder, plan: TrainingPlan, stores: Mapping[str, Path], store: Path
) -> list[TrainingJob]:
    """Return a job for each planned run, after fetching what other machines have trained."""
    jobs = [
        TrainingJob(
            name=run.name,
            experiment=experiment,
            config=run.config,
            folder=run.folder,
            store=stores.get(run.method, store),
            epochs=run.config.epochs,
        )
        for run in itertools.chain.from_iterable(plan.runs.values())
    ]
    for job in jobs:
        job.fetch()
    return jobs


def predict_run(run: BaselineRun, experiment: Experiment, store: Path) -> NDArray[np.int64]:
    """Predict classes of the target's test images with a run's best epoch, shape (n,)."""
    import torch

    from dann_search.data.training_data import as_tensor, open_training_data
    from dann_search.inference.batched_logits import find_device
    from dann_search.models.build import build_network
    from dann_search.models.registry import spec_of
    from dann_search.training.checkpoint import BEST, load_checkpoint, restore_network
    from dann_search.training.loop import input_side
    from dann_search.training.predict import predict_logits

    data = open_training_data(store)
    device = find_device("auto")
    side = input_side(run.config, data)
    network = build_network(run.config, data.classes, experiment.weights, side=side)
    restore_network(network, load_checkpoint(run.folder / BEST), run.folder / BEST)
    logits = predict_logits(
        # The memory format of training and validation, in which convolutions run fastest.
        network.to(device).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        as_tensor(store, "target", "test"),
        spec_of(run.config.backbone, experiment.weights),
        side,
        device,
    )
    classes: NDArray[np.int64] = logits.argmax(1).numpy()
    return classes
