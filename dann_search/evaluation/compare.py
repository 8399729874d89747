"""Train the winner and its baselines on the same splits, budget and seeds, and compare them.

All models are trained and their checkpoints fixed before any test label is read.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from dann_search.config.experiment import Experiment
from dann_search.config.trial import TrialConfig
from dann_search.data.store import open_groups, open_labels, read_info
from dann_search.data.target_labels import write_few_store, write_supervised_store
from dann_search.errors import InputError, RunError
from dann_search.evaluation.baselines import (
    SUPERVISED,
    TARGET_FEW,
    checked,
    default_methods,
    tuned_name,
)
from dann_search.evaluation.comparison import steps, verdict
from dann_search.evaluation.comparison_tables import write_comparison
from dann_search.evaluation.fairness import fairness
from dann_search.evaluation.method_scores import score_methods
from dann_search.evaluation.paired_bootstrap import RESAMPLES
from dann_search.evaluation.runs import TrainingPlan, jobs_of, plan_runs, predict_run
from dann_search.evaluation.tuning import (
    TunedBaseline,
    Tuning,
    plan_searches,
    run_searches,
)
from dann_search.outputs.comparison import Comparison, MethodScores
from dann_search.results.choose import choose
from dann_search.results.reader import TrialRow, read_experiment, read_trials
from dann_search.results.store import packed_store
from dann_search.storage.compare_lock import alone, remove_left_labels
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import recorded_store
from dann_search.training.job import Failures, TrainAll


def compare(
    folder: ExperimentFolder,
    train_all: TrainAll,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    tuning: Tuning | None = None,
) -> Comparison:
    """Train the winner and its baselines anew and score them on the target's test split.

    The model of a run is its best epoch by the search's objective. Runs that finished before, on
    any machine, are not trained again; runs that were interrupted here continue. Methods whose
    recipes are equivalent share their runs.

    Args:
        folder: the experiment.
        train_all: trains the planned runs.
        methods: names; by default those of ``default_methods``. The upper bound target_supervised
            reads the labels of all of the target's training images.
        seeds: runs per method, with seeds that the search never used for the winner.
        tuning: gives each baseline a search of its own, whose best recipe is trained too.

    Raises:
        InputError: no trial has finished, the target has no labels, a search or a comparison is
            still running, a method is unknown, there are fewer than two seeds, or labels that a
            method needs are not there.
        RunError: a training of the winner failed; failed baselines are left out.
    """
    if seeds < 2:
        raise InputError(f"compare needs at least 2 seeds for a deviation, got {seeds}")
    _refuse_while_searching(folder)
    experiment, rows = read_experiment(folder), read_trials(folder)
    row = choose(rows, folder, 1, None)
    few = bool(recorded_store(folder).few_labels)
    named = checked(methods or [], few)
    _refuse_without_labels(folder)
    winner = TrialConfig(**row.config)
    names = named or default_methods(winner, experiment.weights, few)
    numbers = _new_seeds(row, rows, seeds)
    store = packed_store(folder)
    with alone(folder), _stores(folder, experiment, store, names) as stores:
        planned = partial(
            plan_runs, folder, experiment, winner, names, numbers, _steps(winner, store), few=few
        )
        tuned, failed = dict[str, TunedBaseline](), dict[str, str]()
        if tuning:
            own = partial(plan_searches, folder, experiment, winner.method, names, tuning.trials)
            tuned, failed = run_searches(tuning, own(store, stores), len(planned().runs), seeds)
        plan = planned(tuned)
        failures = train_all(jobs_of(folder, plan, stores, store), experiment)
    names = [one for name in names for one in (name, tuned_name(name)) if one in plan.names]
    failed |= _failed(plan, names, failures)
    names = [name for name in names if name not in failed]
    if winner.method in failed or not names:
        raise RunError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    scores = _scored(store, experiment, plan, names, winner.method)
    info = read_info(store)
    own_trials = {name: plan.tuned[name].search.trials for name in names if name in plan.tuned}
    comparison = Comparison(
        methods=scores,
        winner=winner.method,
        trial=row.number,
        seeds=numbers,
        n_test=info.sizes["target"]["test"],
        n_test_contents=_contents(store, info.sizes["target"]["test"]),
        resamples=RESAMPLES,
        verdict=verdict(winner.method, scores, few),
        fairness=fairness(experiment, rows, winner, names, numbers, info, own_trials),
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
    labels, copies = open_labels(store, "target", "test"), open_groups(store, "target", "test")
    class_names = read_info(store).class_names
    predictions = {name: trained[plan.same_as.get(name, name)] for name in names}
    way = steps(winner, names, plan.same_as)
    scores = score_methods(labels, predictions, class_names, winner, steps=way, groups=copies)
    return {
        name: one.model_copy(
            update={
                "same_as": plan.same_as.get(name),
                "runs": [run.folder.name for run in plan.runs[plan.same_as.get(name, name)]],
                "tuned": plan.tuned[name].search if name in plan.tuned else None,
            }
        )
        for name, one in scores.items()
    }


def _contents(store: Path, images: int) -> int:
    """Return how many different contents the target's test images show."""
    copies = open_groups(store, "target", "test")
    return images if copies is None else len(np.unique(copies))


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


def _steps(config: TrialConfig, store: Path) -> int:
    """Return the steps of a whole training."""
    from dann_search.data.batches import steps_per_epoch

    source, target = (read_info(store).sizes[role]["train"] for role in ("source", "target"))
    return config.epochs * steps_per_epoch(source, target, config.batch_size)


@contextmanager
def _stores(
    folder: ExperimentFolder, experiment: Experiment, store: Path, methods: Sequence[str]
) -> Iterator[dict[str, Path]]:
    """Provide packed stores for methods that do not train on the experiment's own store."""
    remove_left_labels(folder)
    stores: dict[str, Path] = {}
    with ExitStack() as written:
        if SUPERVISED in methods:
            place = folder.supervised_data
            stores[SUPERVISED] = written.enter_context(
                write_supervised_store(experiment.data, store, place)
            )
        if TARGET_FEW in methods:
            stores[TARGET_FEW] = written.enter_context(write_few_store(store, folder.few_data))
        yield stores
