"""Train the winner and its baselines on the same splits, budget and seeds, and compare them.

All models are trained and their checkpoints fixed before any test label is read.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.derived_store import write_few_store
from dann_search.data.store import open_groups, open_labels, read_info
from dann_search.data.target_labels import write_supervised_store
from dann_search.errors import InputError, RunError, counted
from dann_search.evaluation.baselines import (
    SUPERVISED,
    TARGET_FEW,
    checked,
    default_methods,
)
from dann_search.evaluation.comparison import steps, verdict
from dann_search.evaluation.comparison_tables import write_comparison
from dann_search.evaluation.fairness import fairness
from dann_search.evaluation.method_scores import score_methods
from dann_search.evaluation.paired_bootstrap import RESAMPLES
from dann_search.evaluation.runs import TrainingPlan, plan_runs, predict_run
from dann_search.evaluation.tuning import (
    TunedBaseline,
    Tuning,
    plan_searches,
    run_searches,
)
from dann_search.outputs.comparison import Comparison, MethodScores
from dann_search.results.choose import choose
from dann_search.results.reader import read_experiment, read_trials
from dann_search.results.rows import TrialRow
from dann_search.results.store import packed_store
from dann_search.storage.compare_lock import alone, remove_left_labels
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.record import recorded_store
from dann_search.training.job import TrainAll


def compare(
    folder: ExperimentFolder,
    train_all: TrainAll,
    *,
    methods: Sequence[str] | None = None,
    seeds: int = 3,
    tuning: Tuning | None = None,
    tell: Callable[[str], None] = lambda line: None,
    scored: Callable[[int, int], None] = lambda done, of: None,
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
        tell: called with a line when all are trained and the scoring begins.
        scored: called with how many runs are scored, and of how many.

    Raises:
        InputError: no trial has finished, the target has no labels, a search or a comparison is
            still running, a method is unknown, there are fewer than two seeds, or labels that a
            method needs are not there.
        RunError: a training of the winner failed; failed baselines are left out.
    """
    asked = _asked(folder, methods, seeds)
    with alone(folder):
        plan, failed = _train(folder, asked, train_all, tuning)
    names = [name for name in plan.runs if name not in failed]
    winner = asked.winner.method
    if winner in failed or not names:
        raise RunError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    scores, contents = _scored(asked, plan, names, tell, scored)
    info = read_info(asked.store)
    n_test = info.sizes["target"]["test"]
    searched = {name: plan.tuned[name].search.trials for name in names if name in plan.tuned}
    comparison = Comparison(
        methods=scores,
        winner=winner,
        trial=asked.row.number,
        seeds=asked.seeds,
        n_test=n_test,
        n_test_contents=contents,
        resamples=RESAMPLES,
        verdict=verdict(winner, scores, asked.few),
        fairness=fairness(
            asked.experiment, asked.rows, asked.winner, names, asked.seeds, info, searched
        ),
        failed=failed,
    )
    write_comparison(comparison, folder)
    return comparison


@dataclass(frozen=True)
class _Asked:
    """What is compared: the experiment's winner, and methods by name.

    ``row`` and ``winner`` are the winning trial and its recipe, ``store`` the experiment's packed
    images; ``few`` says whether training may see some of the target's labels.
    """

    experiment: ExperimentConfig
    rows: Sequence[TrialRow]
    row: TrialRow
    winner: TrialConfig
    names: Sequence[str]
    seeds: list[int]
    store: Path
    few: bool


def _asked(folder: ExperimentFolder, methods: Sequence[str] | None, seeds: int) -> _Asked:
    """Check what can be known to go wrong before anything is trained."""
    if seeds < 2:
        raise InputError(f"compare needs at least 2 seeds for a deviation, got {seeds}")
    if driver_is_alive(folder):
        raise InputError(
            f"{folder}: the search is still running, so its winner is not known yet; "
            f"watch it with: dann-search status {folder}"
        )
    experiment, rows = read_experiment(folder), read_trials(folder)
    row, info = choose(rows, folder, 1, None), recorded_store(folder)
    few, winner = bool(info.few_labels), TrialConfig(**row.config)
    named = checked(methods or [], few)
    if not info.target_labelled:
        raise InputError(
            f"{folder}: the target {info.domains['target']} has no labels, and compare needs those "
            "of its test split: scores without labels rank trials of one method, and cannot tell "
            "which method is better. Label some of its images, put them with the others into a "
            "manifest and search again, or measure this winner alone: "
            f"dann-search evaluate {folder} --data FOLDER"
        )
    names = named or default_methods(winner, experiment.weights, few)
    numbers = _new_seeds(row, rows, seeds)
    return _Asked(experiment, rows, row, winner, names, numbers, packed_store(folder), few)


def _train(
    folder: ExperimentFolder, asked: _Asked, train_all: TrainAll, tuning: Tuning | None
) -> tuple[TrainingPlan, dict[str, str]]:
    """Train all runs; return them, and why methods failed, by name."""
    experiment, winner, store, names = asked.experiment, asked.winner, asked.store, asked.names
    tuned, failed = dict[str, TunedBaseline](), dict[str, str]()
    with _stores(folder, experiment, store, names) as stores:
        planned = partial(
            plan_runs, folder, experiment, winner, names, asked.seeds, _steps(winner, store),
            store, stores, few=asked.few,
        )  # fmt: skip
        if tuning:
            own = plan_searches(
                folder, experiment, winner.method, names, tuning.trials, store, stores
            )
            recipes = planned()
            distinct = len(recipes.runs) - len(recipes.same_as)
            tuned, failed = run_searches(tuning, own, distinct, len(asked.seeds))
        plan = planned(tuned)
        failures = train_all(plan.jobs(), experiment)
    for name, runs in plan.runs.items():
        # A mean over the other runs would flatter.
        if reasons := [failures[run.name] for run in runs if run.name in failures]:
            count = f"{len(reasons)} of {len(runs)} trainings failed"
            failed[name] = f"{count}, the first: {reasons[0]}"
    return plan, failed


def _scored(
    asked: _Asked,
    plan: TrainingPlan,
    names: Sequence[str],
    tell: Callable[[str], None],
    scored: Callable[[int, int], None],
) -> tuple[dict[str, MethodScores], int]:
    """Score every method; all runs have ended, and only here are test labels read.

    ``tell`` and ``scored`` are those of ``compare``.

    Returns:
        The scores by method, and how many different contents the test images show.
    """
    store, winner = asked.store, asked.winner.method
    runs, done = sum(len(plan.runs[name]) for name in names if name not in plan.same_as), 0
    tell(f"scoring {counted(runs, 'run')} on the target's test split")
    scored(done, runs)
    trained: dict[str, NDArray[np.int64]] = {}
    for name in names:
        same = plan.same_as.get(name, name)
        if same not in trained:
            predicted = []
            for run in plan.runs[name]:
                predicted.append(predict_run(run.config, run.folder, asked.experiment, store))
                done += 1
                scored(done, runs)
            trained[same] = np.stack(predicted)
    labels, copies = open_labels(store, "target", "test"), open_groups(store, "target", "test")
    scores = score_methods(
        labels,
        {name: trained[plan.same_as.get(name, name)] for name in names},
        read_info(store).class_names,
        winner,
        steps=steps(winner, names, plan.same_as),
        groups=copies,
    )
    for name, one in scores.items():
        own = {
            "same_as": plan.same_as.get(name),
            "runs": [run.folder.name for run in plan.runs[name]],
            "tuned": plan.tuned[name].search if name in plan.tuned else None,
        }
        scores[name] = one.model_copy(update=own)
    return scores, len(labels) if copies is None else len(np.unique(copies))


def _new_seeds(winner: TrialRow, rows: Sequence[TrialRow], count: int) -> list[int]:
    """Return seeds that did not choose the winner: neither its own nor those that confirmed it."""
    used = {row.config["seed"] for row in rows if winner.number in (row.number, row.confirms)}
    free = (seed for seed in itertools.count(winner.config["seed"] + 1) if seed not in used)
    return list(itertools.islice(free, count))


def _steps(config: TrialConfig, store: Path) -> int:
    """Return the steps of a whole training."""
    from dann_search.data.batches import steps_per_epoch

    source, target = (read_info(store).sizes[role]["train"] for role in ("source", "target"))
    return config.epochs * steps_per_epoch(source, target, config.batch_size)


@contextmanager
def _stores(
    folder: ExperimentFolder, experiment: ExperimentConfig, store: Path, methods: Sequence[str]
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
