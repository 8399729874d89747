"""The winner against its baselines: the same splits, budget and seeds, several trainings each.

All models are trained, and their checkpoints fixed, before any test label is read.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import Experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.store import open_labels, read_info
from dann_search.data.target_labels import write_supervised_store
from dann_search.errors import InputError, RunError
from dann_search.evaluation.baselines import SUPERVISED, checked, default_methods, effective, recipe
from dann_search.evaluation.comparison import Comparison
from dann_search.evaluation.comparison_tables import write_comparison
from dann_search.evaluation.fairness import fairness
from dann_search.evaluation.method_scores import Scores, score_methods
from dann_search.evaluation.paired_bootstrap import RESAMPLES
from dann_search.results.choose import choose
from dann_search.results.reader import TrialRow, read_experiment, read_trials
from dann_search.results.store import packed_store
from dann_search.storage.compare_lock import alone, remove_left_labels
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.training.job import Failures, TrainAll, TrainingJob


@dataclass(frozen=True)
class Run:
    """One training of the comparison."""

    method: str
    seed: int
    config: TrialConfig
    folder: Path

    @property
    def name(self) -> str:
        """As progress and errors call it."""
        return f"{self.method}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """What is trained: a run a seed of every method, but of those whose runs are another's."""

    runs: dict[str, list[Run]]
    same_as: dict[str, str]


def compare(
    folder: ExperimentFolder,
    train_all: TrainAll,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
) -> Comparison:
    """Train the winner and its baselines anew and score them on the target's test split.

    The model of a run is its best epoch by the search's objective. A run that was finished before,
    on whatever machine, is not trained again, one that was cut off here goes on, and methods whose
    recipes come to the same share their runs.

    Args:
        folder: the experiment.
        train_all: trains what is planned here.
        methods: names; by default the winner's method, source_only, frozen_features where the
            backbone has pre-trained weights, from_scratch and tllib_dann. The upper bound
            target_supervised reads the labels of the target's training images.
        seeds: runs a method, with seeds the search never used for the winner.

    Raises:
        InputError: no finished trial, a search or a comparison that is still running, an unknown
            method, fewer than two seeds, or labels of the target that cannot be had for
            target_supervised.
        RunError: a training of the winner failed; baselines that did are left out.
    """
    named = checked(methods or [])
    if seeds < 2:
        raise InputError(f"compare needs at least 2 seeds for a deviation, got {seeds}")
    _refuse_while_searching(folder)
    experiment, rows = read_experiment(folder), read_trials(folder)
    row = choose(rows, folder, 1, None)
    winner = TrialConfig(**row.config)
    names = named or default_methods(winner, experiment.weights)
    numbers = _new_seeds(row, rows, seeds)
    plan = _plan(folder, experiment, winner, names, numbers)
    store = packed_store(folder)
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
        winner=winner.method,
        trial=row.number,
        seeds=numbers,
        methods=scores,
        n_test=info.sizes["target"]["test"],
        resamples=RESAMPLES,
        fairness=fairness(experiment, rows, winner, names, numbers, info),
        failed=failed,
        folder=folder,
    )
    write_comparison(comparison)
    return comparison


def _failed(plan: Plan, names: Sequence[str], failures: Failures) -> dict[str, str]:
    """Methods one of whose trainings failed, and why: a mean over the others would flatter them."""
    found = {}
    for name in names:
        runs = plan.runs[plan.same_as.get(name, name)]
        reasons = [failures[run.name] for run in runs if run.name in failures]
        if reasons:
            found[name] = f"{len(reasons)} of {len(runs)} trainings failed, the first: {reasons[0]}"
    return found


def _scored(
    store: Path, experiment: Experiment, plan: Plan, names: Sequence[str], winner: str
) -> dict[str, Scores]:
    """Every method's scores. All runs have ended: only here are test labels read."""
    wanted = dict.fromkeys(plan.same_as.get(name, name) for name in names)
    trained = {
        method: np.stack([predict_run(run, experiment, store) for run in plan.runs[method]])
        for method in wanted
    }
    labels = open_labels(store, "target", "test")
    class_names = read_info(store).class_names
    predictions = {name: trained[plan.same_as.get(name, name)] for name in names}
    scores = score_methods(labels, predictions, class_names, winner)
    return {
        name: replace(
            one,
            same_as=plan.same_as.get(name),
            runs=[run.folder.name for run in plan.runs[plan.same_as.get(name, name)]],
        )
        for name, one in scores.items()
    }


def _new_seeds(winner: TrialRow, rows: Sequence[TrialRow], count: int) -> list[int]:
    """Seeds on which the winner was not chosen: neither its own nor those that confirmed it."""
    used = {row.config["seed"] for row in rows if winner.number in (row.number, row.confirms)}
    free = (seed for seed in itertools.count(winner.config["seed"] + 1) if seed not in used)
    return list(itertools.islice(free, count))


def _refuse_while_searching(folder: ExperimentFolder) -> None:
    if driver_is_alive(folder):
        raise InputError(
            f"{folder}: the search is still running, so its winner is not known yet; "
            f"watch it with: dann-search status {folder}"
        )


def _plan(
    folder: ExperimentFolder,
    experiment: Experiment,
    winner: TrialConfig,
    names: Sequence[str],
    seeds: Sequence[int],
) -> Plan:
    plan = Plan({}, {})
    first: dict[Path, str] = {}
    for method in names:
        runs = [planned_run(folder, experiment, winner, method, seed) for seed in seeds]
        if (other := first.setdefault(runs[0].folder, method)) != method:
            plan.same_as[method] = other
        else:
            plan.runs[method] = runs
    return plan


def planned_run(
    folder: ExperimentFolder, experiment: Experiment, winner: TrialConfig, method: str, seed: int
) -> Run:
    """A method's run; its folder is named after all that decides the outcome, and nothing else."""
    config = recipe(winner, method, seed, experiment.weights)
    decides = effective(config, experiment.weights)
    trained_as = SUPERVISED if method == SUPERVISED else decides.method
    digest = hashlib.sha256(decides.model_dump_json().encode()).hexdigest()[:8]
    return Run(method, seed, config, folder.compare / f"{trained_as}-seed{seed}-{digest}")


@contextmanager
def _stores(
    folder: ExperimentFolder, experiment: Experiment, store: Path, methods: Sequence[str]
) -> Iterator[dict[str, Path]]:
    """Packed stores of the methods that are not trained on the experiment's own, while needed."""
    remove_left_labels(folder)
    if SUPERVISED not in methods:
        yield {}
        return
    with write_supervised_store(experiment.data, store, folder.supervised_data) as supervised:
        yield {SUPERVISED: supervised}


def _jobs(
    experiment: ExperimentFolder, plan: Plan, stores: Mapping[str, Path], store: Path
) -> list[TrainingJob]:
    """The planned runs, those that another machine trained brought here."""
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


def predict_run(run: Run, experiment: Experiment, store: Path) -> NDArray[np.int64]:
    """Classes a finished run's best epoch gives the packed target's test images, shape (n,)."""
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
    network = build_network(run.config, data.classes, experiment.weights)
    restore_network(network, load_checkpoint(run.folder / BEST), run.folder / BEST)
    logits = predict_logits(
        # As it was trained and validated, and as convolutions run fastest.
        network.to(device).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        as_tensor(store, "target", "test"),
        spec_of(run.config.backbone, experiment.weights),
        input_side(run.config, data),
        device,
    )
    classes: NDArray[np.int64] = logits.argmax(1).numpy()
    return classes
