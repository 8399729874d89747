"""How long an epoch waits for its verdict: asked for it at once, and after the next epoch.

    python benchmarks/verdict_wait.py [--rounds 2] [--trials 3] [--epochs 12]

Each round runs one search on the embedded digits whose worker waits for every verdict before it
continues, and one whose worker trains on meanwhile, in turn, on one slot of this machine. What is
measured is the time that the training waits, in the worker, for each epoch. The time from a trial's
end to the first step of the next is printed, too.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import optuna
import yaml

from dann_search.config.load import load_experiment
from dann_search.models.registry import stage_counts
from dann_search.search.launch import prepare, search
from dann_search.search.ray_session import quiet_output, ray_session
from dann_search.storage.driver_lock import DriverLock
from dann_search.storage.layout import ExperimentFolder
from dann_search.tracking.observer import Observer

SPACE: dict[str, Any] = {
    "data": {
        "source": {"dataset": "digits"},
        "target": {"dataset": "digits-m"},
        "image_size": 28,
    },
    "training": {"backbone": "dann_cnn", "pretrained": False},
    "search": {"scheduler": "none", "sampler": "random", "published_first": False},
    "resources": {"max_parallel_trials": 1},
    "space": {"learning_rate": {"loguniform": [0.01, 0.1]}},
}
TIMED = """
import time
from pathlib import Path

from dann_search.search.reports import Reports

send, settle = Reports.send, Reports.settle


def timed(call):
    begun = time.perf_counter()
    answer = call()
    with open({log!r}, "a") as file:
        file.write(f"{{time.perf_counter() - begun}}\\n")
    return answer


def timed_send(self, keep, report):
    send(self, keep, report)
    if {waits}:
        timed(self._verdict.exception)


def timed_settle(self):
    return settle(self) if {waits} or self._verdict is None else timed(lambda: settle(self))


Reports.send, Reports.settle = timed_send, timed_settle
"""
"""An extension that has workers write down how long they wait."""


def measured(root: Path, name: str, waits: bool, trials: int, epochs: int) -> Any:
    """Return the seconds that each epoch has waited, and those between trials."""
    log, extension = root / f"{name}.log", root / f"{name}.py".replace("-", "_")
    extension.write_text(TIMED.format(log=str(log), waits=waits))
    content = {**SPACE, "name": name, "storage": str(root / "runs"), "extensions": [str(extension)]}
    content["training"] = {**SPACE["training"], "epochs": epochs}
    file = root / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content))
    experiment, space = load_experiment(file, stage_counts(), trials=trials)
    folder = prepare(experiment, space)
    with quiet_output(root / "ray.log"), ray_session(1), DriverLock(folder) as lock:
        search(experiment, space, folder, lambda _, __: Observer(), lock)
    return [float(line) for line in log.read_text().split()], between_trials(folder, name)


def between_trials(folder: ExperimentFolder, name: str) -> list[float]:
    """Return the seconds from each trial's end to the first step of the next."""
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{folder.study}")
    found, before = list[float](), None
    for trial in study.trials:
        assert trial.datetime_start and trial.datetime_complete
        begun = trial.datetime_start.timestamp() + trial.user_attrs["startup_s"]
        found += [] if before is None else [begun - before]
        before = trial.datetime_complete.timestamp()
    return found


def spread(values: list[float]) -> str:
    """Median and range in milliseconds."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle * 1000:.0f} ms ({low * 1000:.0f} to {high * 1000:.0f}, n = {len(values)})"


def main() -> None:
    """Measure both and print what they waited."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    found: dict[bool, list[float]] = {True: [], False: []}
    between: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        for round_ in range(arguments.rounds):
            for waits in found:
                called = f"{'waits' if waits else 'goes-on'}-{round_}"
                settings = arguments.trials, arguments.epochs
                epochs, gaps = measured(Path(name), called, waits, *settings)
                found[waits] += epochs
                between += gaps
                print(f"{called}: {spread(epochs)} an epoch", flush=True)
    print(f"an epoch that waits for its verdict at once: {spread(found[True])}")
    print(f"an epoch that is trained meanwhile:          {spread(found[False])}")
    print(f"from a trial's end to the next one's step:   {spread(between)}")


if __name__ == "__main__":
    main()
