"""Best F1 against epochs spent: our searcher and scheduler, and others, replayed from a table.

    python benchmarks/search_quality.py

The table (benchmarks/digits_table.py) holds every configuration of a grid on the digits task,
trained epoch by epoch, so that a replayed trial is a real one: a proposal gets the curve of the
grid point nearest to it, of learning rate and lambda in logarithms. Each arm spends as many epochs,
on two slots that take turns epoch by epoch, for each of the seeds:

- ours: the defaults of an experiment file (tpe, asha, published recipes first), through the study
  and pruner that a search uses;
- random: no early stopping; random + asha; tpe without early stopping: the same study, other keys;
- OptunaSearch + ASHA: Ray Tune's classes as its documentation pairs them (the space as a
  define-by-run function, defaults of OptunaSearch, grace_period 1, reduction_factor 2).

Printed are median and quartiles of the best F1 after shares of the budget, and how many epochs each
arm's median needs to come to the final median of random search. Then, seed by seed, ours minus
OptunaSearch + ASHA: mean, its 95 % bootstrap interval, and the sign test of who is better.
"""

import argparse
import itertools
import math
import multiprocessing
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from digits_table import EPOCHS, LEVELS, NONE, Table, Value, read_table
from scipy.stats import binomtest

SLOTS = 2
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the budget, after which the best F1 is looked at."""

SPACE = {
    "method": {"choice": ["dann", "source_only"]},
    "lambda_max": {"loguniform": [0.3, 10.0]},
    "learning_rate": {"loguniform": [0.0003, 0.3]},
    "unfrozen_depth": {"int": [1, 3]},
    "batch_norm": {"choice": ["separate", "joint"]},
    "batch_size": {"choice": [32, 64]},
    "horizontal_flip": {"choice": [0.0, 0.5]},
}


def look_up(table: Table, values: dict[str, Any]) -> list[float]:
    """Return the curve of the grid point nearest to ``values``."""

    def level(name: str) -> Value:
        wanted = values.get(name, NONE)
        if isinstance(wanted, str):
            return wanted
        numbers = [n for n in LEVELS[name] if isinstance(n, int | float)]
        scale = math.log if name in ("learning_rate", "lambda_max") else float
        return min(numbers, key=lambda n: abs(scale(n) - scale(wanted)))

    return table[tuple(level(name) for name in LEVELS)]


class Search(Protocol):
    """What is asked for trials and told of epochs."""

    def begin(self) -> tuple[Any, dict[str, Any]]:
        """Return a trial's handle and its values."""

    def told(self, trial: Any, scores: list[float]) -> bool:
        """Epochs so far; whether the trial stops."""

    def close(self) -> None:
        """Done."""


class Ours:
    """The study of a search, without Ray around it."""

    def __init__(self, seed: int, folder: Path, **search: Any):
        from dann_search.config.experiment import ExperimentConfig
        from dann_search.config.space import build_space
        from dann_search.models.registry import stage_counts
        from dann_search.storage.layout import ExperimentFolder
        from dann_search.study.study import StudyRecord

        experiment = ExperimentConfig.model_validate(
            {
                "name": "replay",
                "data": {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}},
                "training": {"backbone": "dann_cnn", "epochs": EPOCHS},
                "search": {"trials": 100_000, "seed": seed, **search},
                "space": SPACE,
            }
        )
        space = build_space(experiment, stage_counts())
        self.record = StudyRecord(experiment, space, ExperimentFolder(folder))

    def begin(self) -> tuple[int, dict[str, Any]]:
        """Ask the study."""
        taken = self.record.next_trial()
        assert taken
        return taken.number, self.record.space.active(taken.config.model_dump())

    def told(self, trial: int, scores: list[float]) -> bool:
        """Report, as the search does, and end the trial when it is over."""
        self.record.report(trial, scores)
        if len(scores) == EPOCHS:
            self.record.complete(trial)
        elif self.record.should_stop(trial):
            self.record.prune(trial)
            return True
        return False

    def close(self) -> None:
        """Let go of the database."""
        self.record.close()


def define_by_run(trial: Any) -> None:
    """Define the same space in the form that OptunaSearch documents for conditions."""
    if trial.suggest_categorical("method", ["dann", "source_only"]) == "dann":
        trial.suggest_float("lambda_max", 0.3, 10.0, log=True)
    trial.suggest_float("learning_rate", 0.0003, 0.3, log=True)
    trial.suggest_int("unfrozen_depth", 1, 3)
    trial.suggest_categorical("batch_norm", ["separate", "joint"])
    trial.suggest_categorical("batch_size", [32, 64])
    trial.suggest_categorical("horizontal_flip", [0.0, 0.5])


class Documented:
    """Ray Tune's OptunaSearch and ASHAScheduler, called as Tune calls them."""

    def __init__(self, seed: int):
        import optuna
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.searcher = OptunaSearch(define_by_run, metric="f1", mode="max", seed=seed)
        self.scheduler = ASHAScheduler(
            metric="f1", mode="max", max_t=EPOCHS, grace_period=1, reduction_factor=2
        )
        self.numbers = itertools.count()

    def begin(self) -> tuple[Any, dict[str, Any]]:
        """Return a trial as far as searcher and scheduler look at it."""

        class Trial:
            trial_id = f"trial{next(self.numbers)}"

        trial = Trial()
        values = self.searcher.suggest(trial.trial_id)
        assert isinstance(values, dict)
        self.scheduler.on_trial_add(None, trial)
        return trial, values

    def told(self, trial: Any, scores: list[float]) -> bool:
        """One result, in Tune's order: scheduler, searcher, completion."""
        from ray.tune.schedulers import TrialScheduler

        result = {"f1": scores[-1], "training_iteration": len(scores)}
        if len(scores) == EPOCHS:
            self.scheduler.on_trial_complete(None, trial, result)
            self.searcher.on_trial_complete(trial.trial_id, result)
            return True
        decision = self.scheduler.on_trial_result(None, trial, result)
        if decision == TrialScheduler.STOP:
            self.searcher.on_trial_complete(trial.trial_id, result)
            return True
        self.searcher.on_trial_result(trial.trial_id, result)
        return False

    def close(self) -> None:
        """Nothing is open."""


PLAIN = {"published_first": False}
OURS, PAIRING = "ours (tpe + asha, published first)", "OptunaSearch + ASHA (Ray Tune)"
ARMS: dict[str, Callable[[int, Path], Search]] = {
    OURS: lambda seed, folder: Ours(seed, folder),
    "ours without the published recipes": lambda seed, folder: Ours(seed, folder, **PLAIN),
    "random": lambda seed, folder: Ours(seed, folder, sampler="random", scheduler="none", **PLAIN),
    "random + asha": lambda seed, folder: Ours(seed, folder, sampler="random", **PLAIN),
    "tpe": lambda seed, folder: Ours(seed, folder, scheduler="none", **PLAIN),
    PAIRING: lambda seed, folder: Documented(seed),
}


def replay(job: tuple[str, int, int]) -> list[float]:
    """Best F1 seen after each epoch spent."""
    arm, seed, budget = job
    warnings.simplefilter("ignore")
    table, best = read_table(), 0.0
    curve: list[float] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        search = ARMS[arm](seed, Path(name))
        slots: list[tuple[Any, list[float], int] | None] = [None] * SLOTS
        while len(curve) < budget:
            for slot, running in enumerate(slots):
                if running is None:
                    trial, values = search.begin()
                    running = (trial, look_up(table, values), 0)
                trial, scores, epochs = running
                epochs += 1
                best = max(best, scores[epochs - 1])
                curve.append(best)
                over = search.told(trial, scores[:epochs]) or epochs == EPOCHS
                slots[slot] = None if over else (trial, scores, epochs)
        search.close()
    return curve[:budget]


def main() -> None:
    """Replay every arm over all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=40, help="full trials that the budget is of")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    budget = arguments.trials * EPOCHS
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    jobs = [(arm, seed, budget) for arm in ARMS for seed in seeds]
    curves: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        # In the order of the jobs: place n of every arm is seed n.
        for (arm, _, _), curve in zip(jobs, pool.imap(replay, jobs), strict=True):
            curves[arm].append(curve)
    goal = statistics.median(curve[-1] for curve in curves["random"])
    report(curves, budget, goal)
    report_pairs(curves[OURS], curves[PAIRING], budget, goal)


def report(curves: dict[str, list[list[float]]], budget: int, goal: float) -> None:
    """Quartiles at shares of the budget, and epochs to random search's final median."""
    table = read_table()
    scores = sorted(max(curve) for curve in table.values())
    print(
        f"{len(table)} configurations, best F1 {scores[-1]:.3f}, "
        f"median {statistics.median(scores):.3f}; "
        f"{len(curves[OURS])} seeds, {budget} epochs each; "
        f"random search's final median: {goal:.4f}\n"
    )
    heads = " | ".join(f"after {round(budget * share)}" for share in SHARES)
    print(f"| search | {heads} | epochs to {goal:.4f} | of random's |")
    print("|---" * (len(SHARES) + 3) + "|")
    for arm, runs in curves.items():
        cells = []
        for share in SHARES:
            at = [run[round(budget * share) - 1] for run in runs]
            low, middle, high = statistics.quantiles(at, n=4)
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
        medians = [statistics.median(run[epoch] for run in runs) for epoch in range(budget)]
        reached = epochs_to(goal, medians)
        share_of = "not reached | " if reached is None else f"{reached} | {reached / budget:.2f}"
        print(f"| {arm} | {' | '.join(cells)} | {share_of} |")


def epochs_to(goal: float, curve: list[float]) -> int | None:
    """Epochs spent until the best F1 is at the goal; None where it never is."""
    return next((n for n, value in enumerate(curve, 1) if value >= goal), None)


def report_pairs(
    ours: list[list[float]], theirs: list[list[float]], budget: int, goal: float
) -> None:
    """Differences of two arms on the same seeds: best F1, and epochs to the goal.

    A search that never comes to the goal counts with its whole budget, which flatters it.
    """
    print(f"\n| {OURS} minus {PAIRING} | mean | 95 % interval | better, equal, worse | p |")
    print("|---" * 5 + "|")
    for share in SHARES:
        spent = round(budget * share)
        gains = np.array([a[spent - 1] - b[spent - 1] for a, b in zip(ours, theirs, strict=True)])
        print(f"| best F1 after {spent} epochs | {paired(gains, '+.4f')} | {wins(gains)} |")
    needed = [[epochs_to(goal, curve) for curve in arm] for arm in (ours, theirs)]
    spent_by = [np.array([budget if n is None else n for n in arm]) for arm in needed]
    more = spent_by[0] - spent_by[1]
    print(f"| epochs to {goal:.4f} | {paired(more, '+.1f')} | {wins(-more)} |")
    missed = [sum(n is None for n in arm) for arm in needed]
    print(f"\nThe goal was never reached by {missed[0]} seeds of ours and {missed[1]} of theirs.")


def paired(differences: np.ndarray, form: str, resamples: int = 10_000) -> str:
    """Return the mean over seeds and its 95 % interval by the percentile bootstrap."""
    drawn = np.random.default_rng(0).choice(differences, (resamples, len(differences)))
    low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
    return f"{differences.mean():{form}} | {low:{form}} to {high:{form}}"


def wins(gains: np.ndarray) -> str:
    """Seeds on which a gain is above, at and below zero, and the two-sided sign test's p-value."""
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    p = binomtest(better, better + worse).pvalue if better + worse else 1.0
    return f"{better}, {(gains == 0).sum()}, {worse} | {p:.3f}"


if __name__ == "__main__":
    main()
