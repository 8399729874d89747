"""A long search of short trials in which something breaks every few seconds, and what it costs.

    python -m tests.faults.soak --trials 500 --every 3 [--seed 0]

Workers, the processes that follow trials, and Train controllers are killed, workers are frozen,
and the disk is full for a while, at moments drawn from a seed. Meanwhile the processes that live as
long as the search are measured: memory of their own (USS), descriptors, threads; and what lies on
disk. At the end the study must be complete, and some trials trained again without a fault come to
the same numbers. The exit code is 1 if they do not, or if something grew.
"""

import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
from optuna.trial import TrialState

from dann_search.storage.layout import ExperimentFolder
from tests.drivers import kill_all, marked, said, start
from tests.experiments import (
    epochs_in_study,
    retrain,
    rows_in_study,
    saved_history,
    study_trials,
    tiny_space_file,
    write_tiny_images,
)
from tests.faults.strikes import WORKER, Strike, named
from tests.ray_fixtures import INJECT

STALL_S, FULL_S = 6, 4.0
STRIKES = {
    "worker killed": Strike(WORKER),
    "worker frozen": Strike(WORKER, signal.SIGSTOP),
    "trial's process killed": Strike("LightTrial"),
    "controller killed": Strike("TrainController"),
}
FULL = "disk full"
LASTING = {"dispatcher": "DispatcherState", "raylet": "/raylet", "GCS": "/gcs_server"}
"""Processes that live as long as the search, beside the driver, by a word of their names."""
MORE = {"MB": 1.1, "descriptors": 1.1, "threads": 1.1, "processes": 1.2}
"""How much more than in the second quarter a figure may be in the last, plus ``SLACK``."""
SLACK = {"MB": 8.0, "descriptors": 4, "threads": 3, "processes": 2}


@dataclass(frozen=True)
class Sample:
    """What was measured at one moment: figures by whose they are and what they count."""

    at_s: float
    trials: int
    figures: dict[tuple[str, str], float] = field(default_factory=dict)


def measure(driver: int, folder: ExperimentFolder, mark: str, begun: float) -> Sample:
    """Measure the processes of a search, and its files."""
    pids = {"driver": driver}
    for name, word in LASTING.items():
        pids.update((name, pid) for pid in named(word, mark)[:1])
    figures: dict[tuple[str, str], float] = {}
    for name, pid in pids.items():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            figures[name, "MB"] = process.memory_full_info().uss / 1e6
            figures[name, "descriptors"] = process.num_fds()
            figures[name, "threads"] = process.num_threads()
    figures["search", "processes"] = len(marked(mark))
    figures["experiment", "MB on disk"] = disk_mb(folder.root)
    if "raylet" in pids and (session := session_of(pids["raylet"])):
        figures["Ray's logs", "MB on disk"] = disk_mb(session)
    done = rows_in_study(folder, "trials WHERE state = 'COMPLETE'")
    return Sample(time.monotonic() - begun, done, figures)


def session_of(raylet: int) -> Path | None:
    """Return the folder of the session that a raylet belongs to."""
    with suppress(OSError):
        line = Path(f"/proc/{raylet}/cmdline").read_bytes().decode(errors="replace")
        if found := re.search(r"/[\w./-]*/session_[\w-]+", line):
            return Path(found[0])
    return None


def disk_mb(folder: Path) -> float:
    """Return how much the files of a folder take on disk."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            if not path.is_symlink() and path.is_file():
                total += path.stat().st_blocks * 512
    return total / 1e6


def table(samples: Sequence[Sample]) -> tuple[list[str], list[str]]:
    """Return the lines of a table of the figures, and which of them grew.

    The first quarter is left out: caches fill, and the last slots come up. Disk grows by design,
    by what is kept of a trial: it is shown for each trial, and judged by the reader.
    """
    second, last = quarter(samples, 1), quarter(samples, 3)
    lines = [f"{'':26} {'2nd quarter':>12} {'last':>10} {'for each trial':>15}"]
    grew = []
    for whose, what in sorted({key for sample in samples for key in sample.figures}):
        before = middle(second, whose, what)
        after = middle(last, whose, what)
        if before is None or after is None:
            continue
        trials = statistics.mean(s.trials for s in last) - statistics.mean(s.trials for s in second)
        each = (after - before) / max(trials, 1)
        lines.append(f"{whose + ', ' + what:26} {before:12.1f} {after:10.1f} {each:15.4f}")
        if what in MORE and after > before * MORE[what] + SLACK[what]:
            grew.append(f"{whose}, {what}: {before:.1f} to {after:.1f}")
    return lines, grew


def quarter(samples: Sequence[Sample], number: int) -> Sequence[Sample]:
    """Return the samples of a quarter of the trials."""
    most = samples[-1].trials
    low, high = most * number / 4, most * (number + 1) / 4
    return [sample for sample in samples if low <= sample.trials <= high] or samples[-1:]


def middle(samples: Sequence[Sample], whose: str, what: str) -> float | None:
    """Return the median of a figure."""
    found = [sample.figures[whose, what] for sample in samples if (whose, what) in sample.figures]
    return statistics.median(found) if found else None


def strike(name: str, driver: "subprocess.Popen[str]", mark: str, rng: random.Random) -> bool:
    """Break something; return whether it was there."""
    if name != FULL:
        return STRIKES[name].hit(driver, mark, rng)
    marker = Path(os.environ["DANN_TEST_FULL"])
    marker.touch()
    time.sleep(FULL_S)
    marker.unlink()
    return True


def soak(
    place: Path, trials: int, every_s: float, seed: int, most_s: float = 1e9
) -> tuple[list[Sample], Counter[str], ExperimentFolder, bool]:
    """Search while things break; return samples, faults by name, and whether it came to its end.

    A fault comes at most ``every_s`` seconds after training went on after the last one.
    """
    os.environ["DANN_TEST_FULL"] = str(place / "full")
    os.environ["PYTHONPATH"] = f"{INJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    path = tiny_space_file(
        place,
        write_tiny_images(place / "images"),
        search__trials=trials,
        training__epochs=2,
        space={"learning_rate": {"loguniform": [0.01, 0.1]}},
        resources__max_worker_deaths=1000,
        resources__stall_timeout_s=STALL_S,
    )
    folder, rng, begun = (
        ExperimentFolder(place / "runs" / "tiny"),
        random.Random(seed),
        time.monotonic(),
    )
    driver, faults, samples = start(place, "launch", str(path)), Counter[str](), list[Sample]()
    try:
        seen = 0
        while driver.poll() is None:
            while driver.poll() is None and epochs_in_study(folder) <= seen:
                time.sleep(0.2)
            time.sleep(rng.uniform(0, every_s))
            if epochs_in_study(folder):
                samples.append(measure(driver.pid, folder, str(place), begun))
            name = rng.choice([*STRIKES, FULL])
            faults[name] += driver.poll() is None and strike(name, driver, str(place), rng)
            seen = epochs_in_study(folder)
            if time.monotonic() - begun > most_s:
                driver.send_signal(signal.SIGINT)
                break
        out, _ = driver.communicate(timeout=600)
        if driver.returncode not in (0, 128 + signal.SIGINT):
            print(f"exit code {driver.returncode}\n{out}\n{said(place)}")
    finally:
        kill_all(driver, str(place))
    return samples, faults, folder, driver.returncode == 0


def inexact(folder: ExperimentFolder, sample: int, again: Path, seed: int) -> list[str]:
    """Return what is wrong with a study: trials that are there twice, or have other numbers."""
    torch.set_num_threads(1)  # as a worker does: sums of floats differ
    wrong, trials = [], study_trials(folder)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if [trial.number for trial in trials] != list(range(len(trials))):
        wrong.append("trials are missing")
    if any(trial.state not in (TrialState.COMPLETE, TrialState.RUNNING) for trial in trials):
        wrong.append(f"states: {Counter(trial.state.name for trial in trials)}")
    for trial in random.Random(seed).sample(done, min(sample, len(done))):
        history = retrain(folder, trial.user_attrs["config"], again / str(trial.number))
        scores = {epoch["epoch"]: epoch["f1_macro_val"] for epoch in history}
        if saved_history(folder, trial.number) != history or trial.intermediate_values != scores:
            wrong.append(f"trial {trial.number} has other numbers")
    return wrong


def main() -> int:
    """Soak, print the figures and the verdict; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument(
        "--every", type=float, default=3.0, help="seconds of training between faults"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=100.0, help="stop the search after so long")
    parser.add_argument("--retrain", type=int, default=10, help="trials to train again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        samples, faults, folder, ended = soak(
            Path(place), given.trials, given.every, given.seed, given.hours * 3600
        )
        wrong = inexact(folder, given.retrain, Path(place, "again"), given.seed)
        if not ended:
            wrong.append(f"ended after {samples[-1].trials} of {given.trials} trials")
    lines, grew = table(samples)
    print(
        f"{samples[-1].trials} trials in {samples[-1].at_s / 60:.0f} min, {faults.total()} faults:"
    )
    print(", ".join(f"{name} {count}" for name, count in faults.most_common()))
    print("\n".join(lines))
    print(
        "\n".join([*wrong, *(f"grew: {line}" for line in grew)])
        or "nothing grew; the study is exact"
    )
    return 1 if wrong or grew else 0


if __name__ == "__main__":
    sys.exit(main())
