"""Record every configuration of a grid on the digits task, trained epoch by epoch, once.

    python benchmarks/digits_table.py            # an hour or more; continues where it stopped
    python benchmarks/digits_table.py --describe # what the table looks like
    python benchmarks/search_quality.py          # replays the table

The table, benchmarks/digits_table.csv, has a row a training: its parameters, its seed and the
target-val macro-F1 after each of its epochs, rounded to four digits. Searches are replayed from it
in seconds, with the real searcher and the real scheduler, and over as many seeds as it takes.

The space is one that a user may write without knowing better: three decades of learning rates,
lambda up to ten, frozen stages, flips of digits, no adaptation at all. What ranks configurations
should be their parameters, not chance. So each is trained with two seeds, a replay sees the mean
of both, and the validation split has 519 images instead of the usual 217: nothing is tested here,
so the test split gives its part. Images have 20 pixels (they were scanned at 8): half the time.
"""

import argparse
import csv
import itertools
import math
import multiprocessing
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from dann_search.config.data import DataConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.store import pack
from dann_search.data.training_data import open_training_data
from dann_search.errors import RunError
from dann_search.training.loop import train

Value = float | str
Configuration = tuple[Value, ...]
Table = dict[Configuration, list[float]]

TABLE = Path(__file__).with_suffix(".csv")
EPOCHS = 12
LOOKS = (1, 2, 3, 4, 6, 9)
SEEDS = (0, 1)
SIDE = 20
LEVELS: dict[str, tuple[Value, ...]] = {
    "method": ("dann", "source_only"),
    "lambda_max": (0.3, 1.0, 3.0, 10.0),
    "learning_rate": (0.0003, 0.0012, 0.0048, 0.019, 0.076, 0.3),
    "unfrozen_depth": (1, 2, 3),
    "batch_norm": ("separate", "joint"),
    "batch_size": (32, 64),
    "horizontal_flip": (0.0, 0.5),
}
"""What the replayed searches choose from: 720 configurations, for without adaptation there is no
lambda."""

NONE = ""
"""The value of a parameter that a configuration does not have."""

DATA = {
    "source": {"dataset": "digits"},
    "target": {"dataset": "digits-m"},
    "image_size": SIDE,
    "splits": {"train": 0.5, "val": 0.48, "test": 0.02},
    "source_splits": {"train": 0.9, "val": 0.08, "test": 0.02},
}


def configurations() -> list[Configuration]:
    """Every point of the grid, in the order of ``LEVELS``; each once."""
    points = (
        (method, NONE if method == "source_only" else lambda_max, *others)
        for method, lambda_max, *others in itertools.product(*LEVELS.values())
    )
    return list(dict.fromkeys(points))


def record(job: tuple[Configuration, int, Path]) -> tuple[Configuration, int, list[float]]:
    """Train one configuration; its validation macro-F1 after each epoch, 0 once it diverged."""
    configuration, seed, data = job
    torch.set_num_threads(1)
    values: dict[str, Any] = {
        name: value for name, value in zip(LEVELS, configuration, strict=True) if value != NONE
    }
    config = TrialConfig(
        backbone="dann_cnn",
        pretrained=False,
        epochs=EPOCHS,
        bottleneck=100,
        discriminator_width=100,
        seed=seed,
        **values,
    )
    scores: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for history in train(config, open_training_data(data), Path(folder)):
                scores = [result.f1_macro_val or 0.0 for result in history]
        except RunError as exc:  # it diverged
            print(f"{values}: {exc}", file=sys.stderr)
    return configuration, seed, [*scores, *[0.0] * (EPOCHS - len(scores))]


def recorded() -> dict[tuple[Configuration, int], list[float]]:
    """Return the trainings that are in the table."""
    if not TABLE.exists():
        return {}
    with TABLE.open(encoding="utf-8") as file:
        return {
            (
                tuple(
                    type(levels[0])(row[name]) if row[name] != NONE else NONE
                    for name, levels in LEVELS.items()
                ),
                int(row["seed"]),
            ): [float(row[f"epoch_{epoch}"]) for epoch in range(1, EPOCHS + 1)]
            for row in csv.DictReader(file)
        }


def read_table() -> Table:
    """Scores by epoch of every configuration, the means over its seeds."""
    curves = recorded()
    lacking = len(configurations()) * len(SEEDS) - len(curves)
    if lacking:
        raise SystemExit(f"{TABLE.name} lacks {lacking} trainings: run digits_table.py")
    return {
        configuration: [
            statistics.fmean(scores)
            for scores in zip(*(curves[configuration, seed] for seed in SEEDS), strict=True)
        ]
        for configuration in configurations()
    }


def describe() -> None:
    """Print what the table looks like: quantiles, how early ranks hold, what seeds do."""
    table, curves = read_table(), recorded()
    best = {configuration: max(curve) for configuration, curve in table.items()}
    shares = (0.05, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
    found = np.quantile(list(best.values()), shares)
    print(f"best F1 of {len(best)} configurations, quantiles:")
    print("  ".join(f"{share:.0%} {value:.3f}" for share, value in zip(shares, found, strict=True)))
    so_far = np.maximum.accumulate(np.array(list(table.values())), axis=1)
    print("rank correlation of the best so far with the final best, after epochs:")
    print("  ".join(f"{n}: {spearman(so_far[:, n - 1], so_far[:, -1]):.2f}" for n in LOOKS))
    pair = [[max(curves[configuration, seed]) for seed in SEEDS] for configuration in table]
    print(
        f"between two seeds: rank correlation {spearman(*np.transpose(pair)):.2f}, "
        f"standard deviation of a training {np.diff(pair).std() / math.sqrt(2):.3f}"
    )
    for column, (name, levels) in enumerate(LEVELS.items()):
        scores = {
            level: [
                score for configuration, score in best.items() if configuration[column] == level
            ]
            for level in levels
        }
        parts = [f"{level}: {np.quantile(of, 0.9):.3f}" for level, of in scores.items()]
        print(f"{name}, 90 % quantiles: {', '.join(parts)}")


def spearman(first: Any, second: Any) -> float:
    """Rank correlation."""
    return float(spearmanr(first, second).statistic)


def main() -> None:
    """Train what the table lacks, a process a core."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, help="stop after so many")
    parser.add_argument("--describe", action="store_true", help="train nothing, describe the table")
    arguments = parser.parse_args()
    if arguments.describe:
        return describe()
    known = recorded()
    wanted = list(itertools.product(configurations(), SEEDS))
    random.Random(0).shuffle(wanted)  # so that a part of the table is like the whole
    missing = [job for job in wanted if job not in known]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        pack(DataConfig.model_validate(DATA), SIDE, data, lambda done, of: None)
        jobs = [(*job, data) for job in missing[: arguments.limit]]
        with (
            multiprocessing.get_context("spawn").Pool(arguments.processes) as pool,
            TABLE.open("a", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            if not known:
                writer.writerow([*LEVELS, "seed", *(f"epoch_{n}" for n in range(1, EPOCHS + 1))])
            for number, (values, seed, scores) in enumerate(pool.imap_unordered(record, jobs), 1):
                writer.writerow([*values, seed, *(f"{score:.4f}" for score in scores)])
                file.flush()
                print(f"{number} of {len(jobs)}", file=sys.stderr)


if __name__ == "__main__":
    main()
