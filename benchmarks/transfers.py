"""What each method brings on six transfers, the lower stages frozen and their output kept.

    python benchmarks/transfers.py --data FOLDER [--seeds 5] [--methods source_only,adabn,…]

FOLDER holds office_caltech_10.tar, digits_subset.tar and efficientnet_lite0.timm.safetensors.
Methods are trained as ``compare`` trains them, without Ray and without a search before: one recipe,
five seeds, each run's best epoch by macro-F1 on the target's validation labels, scored on its test
split. Methods that train on labels of the target have three images of each class.
``self_training`` is adabn whose last two epochs learn pseudo labels; ``dann_separate`` is dann
without batch-norm statistics of each domain.

Printed are means and deviations over seeds, and what each method has over adabn with the 95 %
interval of ``compare``: test images and seeds are resampled, the same ones for all methods; on
average, those of each transfer by themselves. Needs ``pip install -e '.[timm]'``.
"""

import argparse
import json
import statistics
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import (
    BACKBONE,
    DIGITS_AUGMENTATION,
    OFFICE_AUGMENTATION,
    RECIPE,
    TRANSFERS,
    WEIGHTS,
)
from numpy.typing import NDArray

from dann_search.config.experiment import ExperimentConfig
from dann_search.config.trial import TrialConfig
from dann_search.data.derived_store import write_few_store
from dann_search.data.feature_folder import FeatureFolder
from dann_search.data.store import open_groups, open_labels, pack, read_info
from dann_search.data.target_labels import write_supervised_store
from dann_search.data.training_data import open_training_data
from dann_search.evaluation.baselines import SUPERVISED, TARGET_FEW, effective, recipe
from dann_search.evaluation.paired_bootstrap import percentile_interval, resample, scores_on
from dann_search.evaluation.runs import predict_run
from dann_search.training.loop import train

BASE = "adabn"
METHODS = (
    "source_only,adabn,lambda_0,dann,cdan_e,mcc,mdd,self_training,"
    "source_plus_few,target_few,mme,target_supervised"
)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "self_training": (BASE, {"pseudo_labels": 0.3}),
    "dann_separate": ("dann", {"batch_norm": "separate"}),
}
"""Methods whose recipe differs from the others', by what."""
WITH_LABELS = ("source_plus_few", "mme")
CHANGED: dict[str, Any] = {
    "method": "dann",
    "unfrozen_depth": 1,
    "views": 4,
    "batch_norm": "domain",
}
"""What differs from the recipe of accuracy.py."""
FEATURES_GIB = 20


@dataclass(frozen=True)
class Run:
    """One training: its recipe, what it trains on, and where its features are kept."""

    config: TrialConfig
    experiment: ExperimentConfig
    store: Path
    tested: Path
    features: Path


@dataclass(frozen=True)
class Tested:
    """One method on one transfer: macro-F1 of each seed, and where its mean may lie."""

    values: NDArray[np.float64]
    drawn: NDArray[np.float64]


def predict(run: Run) -> NDArray[np.int64]:
    """Train and predict the target's test images, in a process with one thread."""
    import torch

    torch.set_num_threads(1)
    kept = FeatureFolder(run.features, FEATURES_GIB * 2**30)
    data = replace(open_training_data(run.store), features=kept)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in train(run.config, data, folder, weights=run.experiment.weights):
            pass
        return predict_run(run.config, folder, run.experiment, run.tested)


def experiment_on(transfer: str, data: Path, root: Path) -> ExperimentConfig:
    """Return the images and weights of a transfer."""
    archive, source, target, side = TRANSFERS[transfer]
    if not (root / archive).exists():
        with tarfile.open(data / f"{archive}.tar") as tar:
            tar.extractall(root, filter="data")
    return ExperimentConfig.model_validate(
        {
            "name": f"{source}-{target}",
            "data": {
                "source": {"folder": root / archive / source},
                "target": {"folder": root / archive / target},
                "image_size": side,
            },
            "weights": {BACKBONE: {"file": data.resolve() / WEIGHTS, "mean": 0.5, "std": 0.5}},
        }
    )


@contextmanager
def stores_of(experiment: ExperimentConfig, root: Path) -> Iterator[dict[str, Path]]:
    """Pack the images; provide what methods train on: "" for most, else by method."""
    data, plain, few = experiment.data, root / "plain", root / "few"
    side = data.image_size or 0
    labels = {"target": {**data.target.model_dump(), "labels": {"train": 3}}}
    pack(data, side, plain)
    pack(type(data).model_validate({**data.model_dump(), **labels}), side, few)
    with (
        write_supervised_store(data, plain, root / SUPERVISED) as supervised,
        write_few_store(few, root / TARGET_FEW) as few_alone,
    ):
        yield {"": plain, SUPERVISED: supervised, TARGET_FEW: few_alone} | dict.fromkeys(
            WITH_LABELS, few
        )


def test_on(transfer: str, arguments: argparse.Namespace, place: Path) -> dict[str, Tested]:
    """Train and score all methods on a transfer."""
    experiment = experiment_on(transfer, arguments.data, place)
    digits = TRANSFERS[transfer][0] == "digits_subset"
    augmentation = DIGITS_AUGMENTATION if digits else OFFICE_AUGMENTATION
    base = TrialConfig(**RECIPE | augmentation | CHANGED | dict(arguments.set))
    names, seeds = arguments.methods.split(","), range(1, arguments.seeds + 1)
    root = place / experiment.name
    with (
        stores_of(experiment, root) as stores,
        ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool,
    ):
        plain = stores[""]
        begun: dict[str, Future[NDArray[np.int64]]] = {}
        by_method: dict[str, list[Future[NDArray[np.int64]]]] = {}
        for name in names:
            method, changes = VARIANTS.get(name, (name, {}))
            store = stores.get(name, plain)
            by_method[name] = []
            for seed in seeds:
                config = recipe(base, method, seed, experiment.weights, 0)
                config = config.model_copy(update=changes)
                # Methods whose recipes come to the same share their runs, as in compare.
                few = name in WITH_LABELS
                key = f"{store} {effective(config, experiment.weights, few).model_dump_json()}"
                if key not in begun:
                    run = Run(config, experiment, store, plain, root / "features")
                    begun[key] = pool.submit(predict, run)
                by_method[name].append(begun[key])
        predicted = {
            name: np.stack([one.result() for one in runs]) for name, runs in by_method.items()
        }
        return scored(predicted, plain)


def scored(predicted: dict[str, NDArray[np.int64]], store: Path) -> dict[str, Tested]:
    """Score predictions, (seeds, n) by method, on the target's test split."""
    labels, classes = open_labels(store, "target", "test"), len(read_info(store).class_names)
    groups, stacked = open_groups(store, "target", "test"), np.stack([*predicted.values()])
    drawn = resample(labels, stacked, classes, groups=groups).f1_macro
    everyone = np.ones((len(labels), 1))
    return {
        name: Tested(scores_on(labels, predicted[name], classes, everyone)[0][:, 0], drawn[row])
        for row, name in enumerate(predicted)
    }


def line(name: str, found: dict[str, Tested]) -> str:
    """Return a row of the table: each method's mean, deviation and lead over adabn."""

    def cell(method: str) -> str:
        one, base = found[method], found.get(BASE)
        mean = f"{one.values.mean():.3f}"
        if len(one.values) > 1:
            mean += f" ± {statistics.stdev(one.values):.3f}"
        if base is None or method == BASE:
            return mean
        low, high = percentile_interval(one.drawn - base.drawn)
        lead = one.values.mean() - base.values.mean()
        return f"{mean} ({lead:+.3f}: {low:+.3f}, {high:+.3f})"

    return f"| {name} | {' | '.join(cell(method) for method in found)} |"


def setting(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE, the value as JSON."""
    key, value = text.split("=", 1)
    return key, json.loads(value)


def main() -> None:
    """Run what is asked for and print the table, a row as soon as its transfer has ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--transfers", default=",".join(TRANSFERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", type=setting)
    arguments = parser.parse_args()
    methods, found = arguments.methods.split(","), list[dict[str, Tested]]()
    print(f"| macro-F1 (minus adabn: 95 % interval) | {' | '.join(methods)} |")
    print("|---|" + "---|" * len(methods), flush=True)
    with tempfile.TemporaryDirectory() as name:
        for transfer in arguments.transfers.split(","):
            found.append(test_on(transfer, arguments, Path(name)))
            print(line(transfer, found[-1]), flush=True)
    average = {
        one: Tested(
            np.mean([scores[one].values for scores in found], 0),
            np.mean([scores[one].drawn for scores in found], 0),
        )
        for one in methods
    }
    print(line("average", average))


if __name__ == "__main__":
    main()
