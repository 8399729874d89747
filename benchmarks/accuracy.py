"""Accuracy on real images: our methods, and the DANN of skada and pytorch-adapt beside them.

    python benchmarks/accuracy.py --data FOLDER [--methods dann,source_only,…] [--seeds 3]

FOLDER holds office_caltech_10.tar, digits_subset.tar and efficientnet_lite0.timm.safetensors. All
methods get the same backbone, weights, images, splits, augmentation, epochs, batches and learning
rates; what is scored is the network after the last epoch, on the target's test split, so that no
target label chooses anything. A column of ours more: the epoch chosen on the target's validation
split, as a search does. Runs that --out holds already are not repeated.

    pip install -e '.[timm]'                 # for --methods of ours
    pip install -e '.[timm,benchmarks]'      # for skada_dann and pytorch_adapt_dann too
"""

import argparse
import importlib
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

BACKBONE = "timm/efficientnet_lite0"
WEIGHTS = "efficientnet_lite0.timm.safetensors"
TRANSFERS = {
    "amazon→webcam": ("office_caltech_10", "amazon", "webcam", 96),
    "webcam→amazon": ("office_caltech_10", "webcam", "amazon", 96),
    "amazon→dslr": ("office_caltech_10", "amazon", "dslr", 96),
    "caltech10→webcam": ("office_caltech_10", "caltech10", "webcam", 96),
    "mnist→usps": ("digits_subset", "mnist", "usps", 64),
    "usps→mnist": ("digits_subset", "usps", "mnist", 64),
}
OURS = ("source_only", "dann", "cdan", "mcc", "deep_coral", "from_scratch")
THEIRS = ("skada_dann", "pytorch_adapt_dann")
RECIPE: dict[str, Any] = {
    "backbone": BACKBONE,
    "epochs": 6,
    "batch_size": 32,
    "unfrozen_depth": 2,
    "learning_rate": 0.001,
    "head_lr_factor": 10.0,
    "lr_schedule": "ganin",
    "weight_decay": 0.001,
    "bottleneck": 256,
    "batch_norm": "frozen",
    "lambda_schedule": "ganin",
    "lambda_gamma": 10.0,
}
OFFICE_AUGMENTATION = {"crop_scale": 0.6, "horizontal_flip": 0.5}
DIGITS_AUGMENTATION = {"crop_scale": 0.6}


@dataclass(frozen=True)
class Task:
    """One training: what, on what, with which seed."""

    transfer: str
    method: str
    seed: int
    store: Path
    weights: Path
    recipe: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names the run among those kept."""
        changed = "".join(f" {name}={value}" for name, value in sorted(self.recipe.items()))
        return f"{self.transfer} {self.method} {self.seed}{changed}"


def config_of(task: Task) -> Any:
    """Return the recipe of a task."""
    from dann_search.config.trial import TrialConfig

    digits = TRANSFERS[task.transfer][0] == "digits_subset"
    method = task.method if task.method in OURS else "dann"
    return TrialConfig(
        **RECIPE
        | (DIGITS_AUGMENTATION if digits else OFFICE_AUGMENTATION)
        | {"method": method, "seed": task.seed}
        | task.recipe
    )


def weights_of(task: Task) -> Any:
    """Return the shared weights and the normalization they need."""
    from dann_search.config.experiment import WeightsFile

    half = (0.5, 0.5, 0.5)
    return {BACKBONE: WeightsFile(file=task.weights, mean=half, std=half)}


def train_one(task: Task) -> dict[str, Any]:
    """Train and score one task, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    scores = _train_ours(task) if task.method in OURS else _train_theirs(task)
    return {"key": task.key, "transfer": task.transfer, "method": task.method, "seed": task.seed,
            "seconds": time.perf_counter() - start} | scores  # fmt: skip


def _train_ours(task: Task) -> dict[str, float]:
    from dann_search.data.training_data import open_training_data
    from dann_search.models.build import build_network
    from dann_search.training.checkpoint import BEST, LAST, load_checkpoint, restore_network
    from dann_search.training.epoch_steps import input_side
    from dann_search.training.loop import train

    config, weights = config_of(task), weights_of(task)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = open_training_data(task.store)
        for _ in train(config, data, folder, weights=weights):
            pass
        side = input_side(config, data)
        scores: dict[str, float] = {}
        for when, file in (("last", LAST), ("chosen", BEST)):
            network = build_network(config, _classes(task), weights, side=side)
            restore_network(network, load_checkpoint(folder / file), folder / file)
            scores |= {f"{name}_{when}": value for name, value in score(network, task).items()}
        return scores


def _train_theirs(task: Task) -> dict[str, float]:
    rivals = importlib.import_module("rivals")  # beside this file

    network = getattr(rivals, f"train_{task.method}")(
        config_of(task), weights_of(task), task.store, _classes(task)
    )
    return {f"{name}_last": value for name, value in score(network, task).items()}


def _classes(task: Task) -> int:
    from dann_search.data.store import read_info

    return len(read_info(task.store).class_names)


def score(network: Any, task: Task) -> dict[str, float]:
    """Macro-F1 and accuracy on the target's test split."""
    import torch

    from dann_search.data.store import open_labels
    from dann_search.data.training_data import as_tensor
    from dann_search.data.views import Seen
    from dann_search.models.registry import spec_of
    from dann_search.training.metrics import classification_metrics
    from dann_search.training.predict import predict_logits

    logits = predict_logits(
        network,
        Seen(
            as_tensor(task.store, "target", "test"),
            TRANSFERS[task.transfer][3],
            spec_of(BACKBONE, weights_of(task)).normalization,
            None,
            torch.device("cpu"),
        ),
    )
    labels = open_labels(task.store, "target", "test")
    metrics = classification_metrics(labels, logits.argmax(1).numpy(), _classes(task))
    return {"f1": metrics.f1_macro, "accuracy": metrics.accuracy}


def pack_all(data: Path, folder: Path, transfers: list[str]) -> dict[str, Path]:
    """Unpack the tars and pack a store a transfer."""
    from dann_search.config.data import DataConfig, DomainConfig
    from dann_search.data.store import pack

    stores = {}
    for transfer in transfers:
        archive, source, target, side = TRANSFERS[transfer]
        if not (folder / archive).exists():
            with tarfile.open(data / f"{archive}.tar") as tar:
                tar.extractall(folder, filter="data")
        config = DataConfig(
            source=DomainConfig(folder=folder / archive / source),
            target=DomainConfig(folder=folder / archive / target),
            image_size=side,
            source_splits=None,  # 60/20/20 %, as when the tables of docs/accuracy.md were made
        )
        stores[transfer] = folder / f"{source}-{target}"
        pack(config, side, stores[transfer])
    return stores


def results(tasks: list[Task], out: Path, jobs: int) -> Iterator[dict[str, Any]]:
    """Yield the results in ``out``, then those of the other tasks; write each at once."""
    lines = out.read_text().splitlines() if out.exists() else []
    kept = {row["key"]: row for row in map(json.loads, lines)}
    yield from (kept[task.key] for task in tasks if task.key in kept)
    missing = [task for task in tasks if task.key not in kept]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for number, done in enumerate(as_completed(pool.submit(train_one, t) for t in missing), 1):
            row = done.result()
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{number}/{len(missing)} {row['key']}: macro-F1 {row['f1_last']:.3f} "
                  f"in {row['seconds']:.0f} s", flush=True)  # fmt: skip
            yield row


def table(rows: list[dict[str, Any]], methods: list[str], transfers: list[str]) -> str:
    """Mean ± standard deviation over seeds, a row a transfer and method, then the averages."""
    columns = {"macro-F1, last epoch": "f1_last", "accuracy, last epoch": "accuracy_last",
               "macro-F1, chosen on val": "f1_chosen"}  # fmt: skip
    lines = ["| transfer | method | " + " | ".join(columns) + " | s |", "|---|---|---|---|---|---|"]

    def cell(values: list[float]) -> str:
        if not values:
            return "–"
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.3f}{spread}"

    def line(rows: list[dict[str, Any]], name: str, method: str) -> str:
        mine = [row for row in rows if row["method"] == method]
        cells = [cell([r[key] for r in mine if key in r]) for key in columns.values()]
        seconds = (
            cell([])
            if name == "average" or not mine
            else (f"{statistics.mean(r['seconds'] for r in mine):.0f}")
        )
        return f"| {name} | {method} | {' | '.join(cells)} | {seconds} |"

    for transfer in transfers:
        there = [row for row in rows if row["transfer"] == transfer]
        lines += [line(there, transfer, method) for method in methods]
    averaged = [
        {
            "method": m,
            "seed": s,
            **{key: statistics.mean(values) for key, values in grouped.items()},
        }
        for m in methods
        for s in sorted({row["seed"] for row in rows})
        if (grouped := _by_key([r for r in rows if r["method"] == m and r["seed"] == s]))
    ]
    lines += [line(averaged, "average", method) for method in methods]
    return "\n".join(lines)


def _by_key(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    keys = ("f1_last", "accuracy_last", "f1_chosen")
    found = {key: [row[key] for row in rows if key in row] for key in keys}
    return {key: values for key, values in found.items() if values}


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--methods", default="source_only,dann,from_scratch")
    parser.add_argument("--transfers", default=",".join(TRANSFERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    parser.add_argument("--out", type=Path, default=Path("accuracy.jsonl"))
    arguments = parser.parse_args()
    methods, transfers = arguments.methods.split(","), arguments.transfers.split(",")
    recipe = {key: json.loads(value) for key, value in (s.split("=", 1) for s in arguments.sets)}
    with tempfile.TemporaryDirectory() as name:
        stores = pack_all(arguments.data, Path(name), transfers)
        weights = arguments.data / WEIGHTS
        tasks = [
            Task(transfer, method, seed, stores[transfer], weights.resolve(), recipe)
            for seed in range(arguments.seeds)
            for transfer in transfers
            for method in methods
        ]
        rows = list(results(tasks, arguments.out, arguments.jobs))
    print(table(rows, methods, transfers))


if __name__ == "__main__":
    main()
