"""Best F1 against epochs spent: our searcher and scheduler, and others, replayed from a table.

    python benchmarks/search_quality.py

The table (benchmarks/digits_table.py) holds every configuration of a grid on the digits task,
trained epoch by epoch, so that a replayed trial is a real one. Each arm spends the same number of
epochs, on two slots that take turns epoch by epoch, for each of the seeds:

- ours: the defaults of an experiment file (tpe, asha, published recipes first), through the study
  and pruner that a search uses;
- random: no early stopping; random + asha; tpe without early stopping: the same study, other keys;
- OptunaSearch + ASHA: Ray Tune's classes as its documentation pairs them (defaults of OptunaSearch,
  grace_period 1, reduction_factor 2).

Printed are median and quartiles of the best F1 after shares of the budget, and how many epochs each
arm's median needs to come to the final median of random search.
"""

import argparse
import csv
import itertools
import math
import multiprocessing
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from digits_table import EPOCHS, LEVELS, TABLE

SLOTS = 2
SPACE = {
    "learning_rate": {"loguniform": [0.0002, 0.2]},
    "lambda_max": {"uniform": [0.1, 1.0]},
    "lambda_schedule": {"choice": ["constant", "ganin"]},
    "batch_norm": {"choice": ["separate", "joint"]},
    "head_lr_factor": {"choice": [1.0, 10.0]},
    "unfrozen_depth": {"int": [2, 3]},
}
Table = dict[tuple[float | str, ...], list[float]]


def read_table() -> Table:
    """Scores by epoch of every configuration."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = {
        tuple(type(levels[0])(row[name]) for name, levels in LEVELS.items()): [
            float(row[f"epoch_{epoch}"]) for epoch in range(1, EPOCHS + 1)
        ]
        for row in rows
    }
    expected = math.prod(map(len, LEVELS.values()))
    if len(table) != expected:
        raise SystemExit(f"{TABLE} holds {len(table)} of {expected} configurations")
    return table


def look_up(table: Table, values: dict[str, Any]) -> list[float]:
    """The curve of the configuration nearest to ``values``; of learning rates in logarithms."""

    def level(name: str) -> float | str:
        wanted = values[name]
        if isinstance(wanted, str):
            return wanted
        numbers = [n for n in LEVELS[name] if isinstance(n, int | float)]
        scale = math.log if name == "learning_rate" else float
        return min(numbers, key=lambda n: abs(scale(n) - scale(wanted)))

    return table[tuple(level(name) for name in LEVELS)]


class Search(Protocol):
    """What is asked for trials and told of epochs."""

    def begin(self) -> tuple[Any, dict[str, Any]]:
        """A trial's handle and its values."""

    def told(self, trial: Any, scores: list[float]) -> bool:
        """Epochs so far; whether the trial stops."""

    def close(self) -> None:
        """Done."""


class Ours:
    """The study of a search, without Ray around it."""

    def __init__(self, seed: int, folder: Path, **search: Any):
        from dann_search.config.experiment import Experiment
        from dann_search.config.space import build_space
        from dann_search.layout import ExperimentFolder
        from dann_search.models.registry import stage_counts
        from dann_search.search.study import StudyRecord

        experiment = Experiment.model_validate(
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
        return taken.number, taken.config.model_dump()

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


class Documented:
    """Ray Tune's OptunaSearch and ASHAScheduler, called as Tune calls them."""

    def __init__(self, seed: int):
        import optuna
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        space = {
            "learning_rate": tune.loguniform(0.0002, 0.2),
            "lambda_max": tune.uniform(0.1, 1.0),
            "lambda_schedule": tune.choice(["constant", "ganin"]),
            "batch_norm": tune.choice(["separate", "joint"]),
            "head_lr_factor": tune.choice([1.0, 10.0]),
            "unfrozen_depth": tune.randint(2, 4),
        }
        self.searcher = OptunaSearch(space, metric="f1", mode="max", seed=seed)
        self.scheduler = ASHAScheduler(
            metric="f1", mode="max", max_t=EPOCHS, grace_period=1, reduction_factor=2
        )
        self.numbers = itertools.count()

    def begin(self) -> tuple[Any, dict[str, Any]]:
        """A trial as far as searcher and scheduler look at it."""

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
ARMS: dict[str, Callable[[int, Path], Search]] = {
    "ours (tpe + asha, published first)": lambda seed, folder: Ours(seed, folder),
    "ours without the published recipes": lambda seed, folder: Ours(seed, folder, **PLAIN),
    "random": lambda seed, folder: Ours(seed, folder, sampler="random", scheduler="none", **PLAIN),
    "random + asha": lambda seed, folder: Ours(seed, folder, sampler="random", **PLAIN),
    "tpe": lambda seed, folder: Ours(seed, folder, scheduler="none", **PLAIN),
    "OptunaSearch + ASHA (Ray Tune)": lambda seed, folder: Documented(seed),
}


def replay(job: tuple[str, int, int]) -> tuple[str, list[float]]:
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
    return arm, curve[:budget]


def main() -> None:
    """Replay every arm over all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=40, help="full trials that the budget is of")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    budget = arguments.trials * EPOCHS
    jobs = [(arm, seed, budget) for arm in ARMS for seed in range(arguments.seeds)]
    curves: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for arm, curve in pool.imap_unordered(replay, jobs):
            curves[arm].append(curve)
    report(curves, budget, arguments.seeds)


def report(curves: dict[str, list[list[float]]], budget: int, seeds: int) -> None:
    """Quartiles at shares of the budget, and epochs to random search's final median."""
    table = read_table()
    scores = sorted(max(curve) for curve in table.values())
    goal = statistics.median(curve[-1] for curve in curves["random"])
    print(
        f"{len(table)} configurations, best F1 {scores[-1]:.3f}, "
        f"median {statistics.median(scores):.3f}; "
        f"{seeds} seeds, {budget} epochs each; random search's final median: {goal:.4f}\n"
    )
    shares = (0.125, 0.25, 0.5, 1.0)
    heads = " | ".join(f"after {round(budget * share)}" for share in shares)
    print(f"| search | {heads} | epochs to {goal:.4f} | of random's |")
    print("|---" * (len(shares) + 3) + "|")
    for arm, runs in curves.items():
        cells = []
        for share in shares:
            at = [run[round(budget * share) - 1] for run in runs]
            low, middle, high = statistics.quantiles(at, n=4)
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
        medians = [statistics.median(run[epoch] for run in runs) for epoch in range(budget)]
        reached = next((n for n, value in enumerate(medians, 1) if value >= goal), None)
        share_of = "not reached | " if reached is None else f"{reached} | {reached / budget:.2f}"
        print(f"| {arm} | {' | '.join(cells)} | {share_of} |")


if __name__ == "__main__":
    main()
