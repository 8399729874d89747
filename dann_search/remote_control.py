"""Searches that run elsewhere: submit, follow and stop them, and read how they ended."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dann_search.config.load import load_experiment
from dann_search.driver_lock import BEAT_S, driver_is_alive, request_stop
from dann_search.errors import InputError, RunError
from dann_search.layout import ExperimentFolder
from dann_search.models.registry import stage_counts
from dann_search.results.reader import open_experiment
from dann_search.search import jobs

STOP_WAIT_S = 120.0


@dataclass(frozen=True)
class Submitted:
    """A search handed to a cluster."""

    folder: ExperimentFolder
    job: jobs.Job

    def to_json(self) -> dict[str, Any]:
        """As ``launch --detach --json`` prints it."""
        return {"experiment": str(self.folder), "job": self.job.id, "address": self.job.address}


def submit(
    space_file: str | Path,
    address: str,
    *,
    name: str | None = None,
    storage: str | Path | None = None,
    trials: int | None = None,
    sets: Sequence[str] = (),
) -> Submitted:
    """Validate an experiment file here and have a cluster launch it as a Ray job.

    Data are not looked for here: the cluster's nodes have them, by path or URL.

    Args:
        space_file: the YAML file.
        address: of the job server, ``http://head:8265``.
        name: of the experiment; the file's by default.
        storage: folder that all nodes share, or its URL.
        trials: overrides the file's number of trials.
        sets: overrides such as ``"training.epochs=5"``.

    Raises:
        InputError: bad input, a name that is taken, or no cluster there; nothing was started.
    """
    experiment, _ = load_experiment(
        Path(space_file),
        stage_counts(),
        sets=sets,
        name=name,
        storage=storage,
        trials=trials,
        check_files=False,
    )
    for backbone, given in experiment.weights.items():
        if not given.file.is_file():
            raise InputError(f"weights.{backbone}: no such file: {given.file}")
    folder = ExperimentFolder.at(experiment.place)
    folder.fetch(folder.record)
    if folder.record.exists():
        raise InputError(
            f"the experiment '{experiment.name}' exists already in {folder}; go on with it: "
            f"dann-search resume {folder} --address {address}, or choose another name: "
            f"--name {experiment.name}-2"
        )
    return Submitted(folder, jobs.submit_launch(experiment, folder, address))


def submit_resume(
    experiment: str | Path,
    address: str,
    *,
    add_trials: int = 0,
    sets: Sequence[str] = (),
    allow_wider_space: bool = False,
) -> Submitted:
    """Have a cluster go on with an experiment that lies on storage it shares.

    Raises:
        InputError: no experiment there, one that is running, or no cluster.
    """
    folder = open_experiment(experiment)
    if driver_is_alive(folder):
        raise InputError(f"{folder}: a search is already running on it; see dann-search attach")
    options = [word for item in sets for word in ("--set", item)]
    if add_trials:
        options += ["--add-trials", str(add_trials)]
    if allow_wider_space:
        options.append("--allow-wider-space")
    return Submitted(folder, jobs.submit_resume(folder, address, options))


def attach(
    experiment: str | Path | Submitted, write: Callable[[str], object] = sys.stderr.write
) -> dict[str, Any]:
    """Follow a job to its end; what its search came to, as ``launch --json`` has it.

    Raises:
        InputError: there is no such job.
        RunError: it failed.
    """
    if isinstance(experiment, Submitted):
        folder, job = experiment.folder, experiment.job
    else:
        folder = ExperimentFolder.at(_place(experiment))
        job = jobs.job_of(folder)
    state = jobs.follow(job, write)
    folder.fetch(folder.result)
    try:
        # Written as a search ends, taken away as one begins.
        result: dict[str, Any] = json.loads(folder.result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunError(
            f"job {job.id} ended as {state} without a result; what was trained is kept: "
            f"dann-search resume {folder} --address {job.address}"
        ) from None
    return result


def _place(experiment: str | Path) -> str:
    """Of an experiment that may not have been laid out yet: its job is submitted before."""
    try:
        return str(open_experiment(experiment))
    except InputError:
        folder = ExperimentFolder.at(experiment)
        folder.fetch(folder.job)
        if folder.job.is_file():
            return str(experiment)
        raise


def stop(experiment: str | Path, *, wait_s: float = STOP_WAIT_S) -> ExperimentFolder:
    """Have the driver of an experiment, wherever it runs, end as after Ctrl-C.

    Raises:
        InputError: no experiment there, or nothing searches it.
        RunError: the driver has not ended in time.
    """
    folder = open_experiment(experiment)
    if not driver_is_alive(folder):
        raise InputError(f"{folder}: nothing searches it")
    request_stop(folder)
    until = time.monotonic() + wait_s
    while driver_is_alive(folder):
        if time.monotonic() > until:
            raise RunError(
                f"{folder}: its driver was asked to stop and still runs; a trial may be in a long "
                f"step: see dann-search status {folder}"
            )
        time.sleep(BEAT_S / 5)
    return folder
