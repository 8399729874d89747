"""The same trials of the same training code under four ways to run them, two at a time.

    python benchmarks/orchestration.py [--trials 12] [--epochs 12] [--rounds 2] [--tiny]

- ours: ``dann-search launch``, its packing, leaderboard, best model and TensorBoard included
- optuna: two processes that share a study in one SQLite file
- tune: a function trainable of Ray Tune for each trial
- documented: a TorchTrainer in every Tune trial, as Ray's documentation shows it

Each trains the handwritten digits with the same learning rates, from images that are packed before;
none stops a trial early. The ways alternate, round by round. Seconds after the start are those
after the first epoch of any trial was saved. Run it on an idle machine: Ray's workers are niced by
15 and yield to anything else.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from process_tree import Cost, cost_of

AT_ONCE = 2
SAVED = "last.safetensors"


def space_of(root: Path, trials: int, epochs: int) -> dict[str, Any]:
    """Return the experiment: a grid of learning rates."""
    rates = [round(0.01 * 1.2**number, 4) for number in range(trials)]
    return {
        "name": "ours",
        "storage": str(root),
        "data": {
            "source": {"dataset": "digits"},
            "target": {"dataset": "digits-m"},
            "image_size": 28,
        },
        "training": {"backbone": "dann_cnn", "epochs": epochs, "pretrained": False},
        "search": {"trials": trials, "sampler": "grid", "scheduler": "none"},
        "resources": {"max_parallel_trials": AT_ONCE, "cpus_per_worker": 1},
        "space": {"learning_rate": {"choice": rates}},
    }


def pack_images(root: Path) -> None:
    """Pack the images, for the ways that do not do it themselves."""
    from dann_search.config.experiment import ExperimentConfig
    from dann_search.data.store import pack

    experiment = ExperimentConfig.model_validate(yaml.safe_load((root / "space.yaml").read_text()))
    pack(experiment.data, 28, root / "packed", lambda done, of: None)


def train_trial(config: dict[str, Any]) -> float:
    """Train one trial as our workers do; return its best macro-F1."""
    import torch

    from dann_search.config.trial import TrialConfig
    from dann_search.data.training_data import open_training_data
    from dann_search.training.loop import train

    torch.set_num_threads(1)
    root, content = Path(config["root"]), config["training"]
    folder = root / config["way"] / str(config["learning_rate"])
    folder.mkdir(parents=True)
    recipe = TrialConfig(**content, learning_rate=config["learning_rate"])
    for history in train(recipe, open_training_data(root / "packed"), folder):
        last = history
    return max(epoch.f1_macro_val or 0.0 for epoch in last)


def configs(root: Path, way: str) -> list[dict[str, Any]]:
    """Return what each trial is told."""
    space = yaml.safe_load((root / "space.yaml").read_text())
    shared = {"root": str(root), "way": way, "training": space["training"]}
    return [shared | {"learning_rate": rate} for rate in space["space"]["learning_rate"]["choice"]]


def run_optuna(root: Path) -> None:
    """Start two processes on one study, as Optuna's tutorial on distributed optimization does."""
    import optuna

    optuna.create_study(study_name="plain", storage=f"sqlite:///{root / 'plain.db'}")
    command = [sys.executable, __file__, "--run", "optuna-worker", "--root", str(root)]
    processes = [subprocess.Popen(command) for _ in range(AT_ONCE)]
    if any([process.wait() for process in processes]):
        raise SystemExit(1)


def run_optuna_worker(root: Path) -> None:
    """Take trials from the study until each learning rate has one."""
    import optuna

    grid = configs(root, "optuna")
    rates = [config["learning_rate"] for config in grid]

    def objective(trial: optuna.Trial) -> float:
        # By its number: a GridSampler in two processes may give both the same point.
        rate = rates[trial.number]
        trial.set_user_attr("learning_rate", rate)
        return train_trial(grid[trial.number])

    study = optuna.load_study(study_name="plain", storage=f"sqlite:///{root / 'plain.db'}")
    while True:
        trial = study.ask()
        if trial.number >= len(rates):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        study.tell(trial, objective(trial))


def run_tune(root: Path) -> None:
    """Train in function trainables."""
    _tune(root, "tune", lambda config: train_trial(config), {"CPU": 1})


def run_documented(root: Path) -> None:
    """Start a TorchTrainer in each trial."""

    def trial(config: dict[str, Any]) -> float:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        name = str(config["learning_rate"])
        TorchTrainer(
            train_trial,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.9}),
            run_config=RunConfig(name=f"train-{name}", storage_path=str(root / "train")),
        ).fit()
        return 0.0

    _tune(root, "documented", trial, {"CPU": 0.01})


def _tune(
    root: Path, way: str, trial: Callable[[dict[str, Any]], float], resources: dict[str, float]
) -> None:
    import ray
    from ray import tune

    def reported(config: dict[str, Any]) -> None:
        tune.report({"f1": trial(config["trial"])})

    ray.init(address="local", num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False)
    results = tune.Tuner(
        tune.with_resources(reported, resources),
        param_space={"trial": tune.grid_search(configs(root, way))},
        tune_config=tune.TuneConfig(max_concurrent_trials=AT_ONCE),
        run_config=tune.RunConfig(storage_path=str(root / "tune-runs"), name=way, verbose=0),
    ).fit()
    if results.errors:
        raise SystemExit(str(results.errors[0]))


RUN = {
    "optuna": run_optuna,
    "optuna-worker": run_optuna_worker,
    "tune": run_tune,
    "documented": run_documented,
}
WAYS = ("ours", "optuna", "tune", "documented")


def measure(way: str, trials: int, epochs: int) -> Cost:
    """Run one way in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "space.yaml").write_text(yaml.safe_dump(space_of(root, trials, epochs)))
        if way == "ours":
            command = ["-m", "dann_search", "launch", str(root / "space.yaml")]
        else:
            pack_images(root)
            command = [__file__, "--run", way, "--root", name]

        def has_begun() -> bool:
            return next(root.glob(f"{way}/**/{SAVED}"), None) is not None

        return cost_of([sys.executable, *command], has_begun)


def rows(costs: dict[str, list[Cost]]) -> list[str]:
    """Return the table: medians, and the range over rounds of what the wall clock says."""
    found = [
        "| | wall s (range) | to the first epoch s | after it s | CPU s | peak MiB | wall / ours |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = costs["ours"]
    for way, each in costs.items():
        walls = [cost.wall_s for cost in each]
        starts = [cost.start_s or cost.wall_s for cost in each]
        after = [wall - start for wall, start in zip(walls, starts, strict=True)]
        ratios = [wall / own.wall_s for wall, own in zip(walls, ours, strict=True)]
        middle = statistics.median
        found.append(
            f"| {way} | {middle(walls):.1f} ({min(walls):.1f} to {max(walls):.1f}) "
            f"| {middle(starts):.1f} | {middle(after):.1f} "
            f"| {middle([cost.cpu_s for cost in each]):.1f} "
            f"| {middle([cost.peak_mib for cost in each]):,.0f} "
            f"| {middle(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )
    return found


def main() -> None:
    """Measure all ways, alternating, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--tiny", action="store_true", help="2 trials of 1 epoch, ours and optuna")
    parser.add_argument("--run", choices=RUN, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        RUN[arguments.run](arguments.root)
        return
    if arguments.tiny:
        arguments.trials, arguments.epochs, arguments.rounds = 2, 1, 1
        arguments.ways = "ours,optuna"
    costs: dict[str, list[Cost]] = {way: [] for way in arguments.ways.split(",")}
    for _ in range(arguments.rounds):
        for way, found in costs.items():
            found.append(measure(way, arguments.trials, arguments.epochs))
            print(f"{way}: {found[-1]}", file=sys.stderr)
    print("\n".join(rows(costs)))


if __name__ == "__main__":
    main()
