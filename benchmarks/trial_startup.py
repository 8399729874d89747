"""Time from a trial's start to its worker training: warm groups, and a TorchTrainer a trial.

    python benchmarks/trial_startup.py [--trials 12] [--documented 4]

Both run on the same machine, one after the other in one run: ours by its search on the embedded
digits, the alternative as Ray's documentation shows it (a TorchTrainer started inside every Tune
trial). Both end their start-up at the same point: network and data ready, first step next.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
import yaml

from dann_search.config.load import load_experiment
from dann_search.config.trial import TrialConfig
from dann_search.models.registry import stage_counts
from dann_search.search.launch import prepare, search
from dann_search.search.ray_session import quiet_output, ray_session
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.observer import Observer

SPACE: dict[str, Any] = {
    "name": "startup",
    "data": {
        "source": {"dataset": "digits"},
        "target": {"dataset": "digits-m"},
        "image_size": 28,
    },
    "training": {"backbone": "dann_cnn", "epochs": 1, "pretrained": False},
    "search": {"scheduler": "none"},
    "space": {"learning_rate": {"loguniform": [0.01, 0.1]}},
}


def warm_groups(folder: ExperimentFolder) -> list[float]:
    """Start-up of each trial of the search in ``folder``, as the study recorded it."""
    trials = optuna.load_study(study_name="startup", storage=f"sqlite:///{folder.study}").trials
    return [trial.user_attrs["startup_s"] for trial in trials]


def worker(config: dict[str, Any]) -> None:
    """Prepare a trial as the documented pattern does, note the time, train nothing."""
    import torch

    from dann_search.data.training_data import open_training_data
    from dann_search.training.loop import Training

    folder = Path(config["mark"]).parent
    data = open_training_data(Path(config["data"]))
    Training(TrialConfig(**config["recipe"]), data, folder, torch.device("cpu"))
    Path(config["mark"]).write_text(str(time.time()))


def documented(data: Path, recipe: dict[str, Any], storage: Path, trials: int) -> list[float]:
    """Start-up of each trial where it starts a TorchTrainer of its own."""
    from ray import tune
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def trial(config: dict[str, Any]) -> None:
        begun = time.time()
        name = tune.get_context().get_trial_id()
        mark = storage / f"{name}.time"
        TorchTrainer(
            worker,
            train_loop_config={"mark": str(mark), "data": str(data), "recipe": recipe},
            scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.9}),
            run_config=RunConfig(name=f"train-{name}", storage_path=str(storage)),
        ).fit()
        tune.report({"startup_s": float(mark.read_text()) - begun})

    grid = tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.01}),
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=2),
        run_config=tune.RunConfig(storage_path=str(storage), name="documented", verbose=0),
    ).fit()
    return [result.metrics["startup_s"] for result in grid if result.metrics]


def spread(values: list[float]) -> str:
    """Median and range."""
    return (
        f"median {statistics.median(values):.3f} s "
        f"(smallest {min(values):.3f}, largest {max(values):.3f}, n = {len(values)})"
    )


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--documented", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        file = root / "space.yaml"
        file.write_text(yaml.safe_dump({**SPACE, "storage": str(root / "runs")}))
        experiment, space = load_experiment(file, stage_counts(), trials=arguments.trials)
        folder = prepare(experiment, space)
        cpus = os.cpu_count() or 1
        with quiet_output(root / "ray.log") as terminal:
            with ray_session(cpus), DriverLock(folder) as lock:
                search(experiment, space, folder, lambda _, __: Observer(), lock)
            terminal.write("measured warm groups; now a TorchTrainer a trial\n")
            with ray_session(cpus):
                recipe = space.fixed.model_dump(mode="json")
                others = documented(folder.data, recipe, root / "doc", arguments.documented)
        mine = warm_groups(folder)
        slots = min(cpus, len(mine))
        first, rest = sorted(mine, reverse=True)[:slots], sorted(mine, reverse=True)[slots:]
        print(f"warm groups, first trial of each slot (one-time start): {spread(first)}")
        print(f"warm groups, every other trial:                         {spread(rest)}")
        print(f"a TorchTrainer a trial, as documented:                  {spread(others)}")
        ratio = statistics.median(others) / statistics.median(rest)
        print(f"ratio of the medians: {ratio:.0f}")


if __name__ == "__main__":
    main()
