"""Record every configuration of a small grid on the digits task, trained epoch by epoch, once.

    python benchmarks/digits_table.py            # hours; goes on where it stopped
    python benchmarks/search_quality.py          # replays the table

The table, benchmarks/digits_table.csv, has a row a configuration: its parameters and the target-val
macro-F1 after each of its epochs, rounded to four digits. Searches are replayed from it in seconds,
with the real searcher and the real scheduler, and over as many seeds as it takes.
"""

import argparse
import csv
import itertools
import multiprocessing
import sys
import tempfile
from pathlib import Path

import torch

from dann_search.config.data import DataConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.store import pack
from dann_search.data.training_data import open_training_data
from dann_search.errors import RunError
from dann_search.training.loop import train

TABLE = Path(__file__).with_suffix(".csv")
EPOCHS = 12
LEVELS: dict[str, tuple[float | str, ...]] = {
    "learning_rate": (0.0002, 0.0008, 0.003, 0.006, 0.012, 0.024, 0.048, 0.2),
    "lambda_max": (0.1, 0.4, 0.7, 1.0),
    "lambda_schedule": ("constant", "ganin"),
    "batch_norm": ("separate", "joint"),
    "head_lr_factor": (1.0, 10.0),
    "unfrozen_depth": (2, 3),
}
"""What the replayed searches choose from: 512 configurations of the quickstart's task, of which, as
in a range that one writes without knowing better, half have a learning rate that is no good."""


def configurations() -> list[dict[str, float | str]]:
    """Every point of the grid."""
    return [
        dict(zip(LEVELS, values, strict=True)) for values in itertools.product(*LEVELS.values())
    ]


def record(job: tuple[dict[str, float | str], Path]) -> tuple[dict[str, float | str], list[float]]:
    """Train one configuration; its validation macro-F1 after each epoch, 0 once it diverged."""
    values, data = job
    torch.set_num_threads(1)
    config = TrialConfig(
        backbone="dann_cnn",
        pretrained=False,
        epochs=EPOCHS,
        bottleneck=100,
        discriminator_width=100,
        **values,
    )
    scores: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for history in train(config, open_training_data(data), Path(folder)):
                scores = [result.f1_macro_val for result in history]
        except RunError as exc:  # it diverged
            print(f"{values}: {exc}", file=sys.stderr)
    return values, [*scores, *[0.0] * (EPOCHS - len(scores))]


def done() -> set[tuple[str, ...]]:
    """Configurations that the table has."""
    if not TABLE.exists():
        return set()
    with TABLE.open(encoding="utf-8") as file:
        return {tuple(row[name] for name in LEVELS) for row in csv.DictReader(file)}


def main() -> None:
    """Train what the table lacks, a process a core."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=int, help="stop after so many")
    arguments = parser.parse_args()
    known = done()
    missing = [c for c in configurations() if tuple(map(str, c.values())) not in known]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        experiment = {"source": {"dataset": "digits"}, "target": {"dataset": "digits-m"}}
        pack(DataConfig.model_validate(experiment), 28, data, lambda done, of: None)
        jobs = [(configuration, data) for configuration in missing[: arguments.limit]]
        with (
            multiprocessing.get_context("spawn").Pool(arguments.processes) as pool,
            TABLE.open("a", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            if not known:
                writer.writerow([*LEVELS, *(f"epoch_{n}" for n in range(1, EPOCHS + 1))])
            for number, (values, scores) in enumerate(pool.imap_unordered(record, jobs), 1):
                writer.writerow([*values.values(), *(f"{score:.4f}" for score in scores)])
                file.flush()
                print(f"{number} of {len(jobs)}", file=sys.stderr)


if __name__ == "__main__":
    main()
