"""Submit, follow and stop searches that run elsewhere, and read their results."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from dann_search.cluster import jobs
from dann_search.cluster.job_record import Job, read_job, seen_here
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.extensions import registered_here
from dann_search.config.load import experiment_of, read_source
from dann_search.config.paths import check_cluster_storage
from dann_search.errors import InputError, RunError, nearest
from dann_search.models.registry import stage_counts
from dann_search.outputs.search import JobEnded, SearchEnded, Stopped, Submitted
from dann_search.results.reader import experiment_at, find_experiment
from dann_search.storage.driver_lock import BEAT_S, driver_is_alive, request_stop
from dann_search.storage.layout import ExperimentFolder, default_storage
from dann_search.storage.remote_folder import is_url

STOP_WAIT_S = 120.0
SUCCEEDED: Literal["SUCCEEDED"] = "SUCCEEDED"
"""Ray's state of a job whose command ended with exit code 0."""


def submit(
    space_file: str | Path,
    address: str,
    *,
    name: str | None = None,
    storage: str | Path | None = None,
    trials: int | None = None,
    sets: Sequence[str] = (),
    env: Sequence[str] = (),
) -> Submitted:
    """Validate an experiment file here, and submit it to a cluster as a Ray job.

    Its data need not be on this machine: the cluster's nodes reach them by path or URL.

    Args:
        space_file: the YAML file.
        address: address of the job server, ``http://head:8265``.
        name: name of the experiment; by default the file's.
        storage: absolute path or URL of a folder that all nodes share.
        trials: number of trials; by default the file's.
        sets: overrides such as ``"training.epochs=5"``.
        env: names of variables of this environment that the job gets too, such as that of a
            database's password. Whoever has the cluster's token can read them there.

    Raises:
        InputError: bad input, a variable that is not set, a name that is taken, storage of this
            machine alone, or no cluster there; nothing was started.
        RunError: the connection was lost, and the job may have been submitted.
    """
    source = read_source(Path(space_file), sets=sets, name=name, storage=storage, trials=trials)
    experiment, _ = experiment_of(source, stage_counts(), check_files=False)
    check_cluster_storage(source)
    variables = _variables(env)
    _check_sent(experiment)
    for backbone, given in experiment.weights.items():
        if not given.file.is_file():
            raise InputError(f"weights.{backbone}: no such file: {given.file}")
    folder = ExperimentFolder.at(experiment.place)
    folder.fetch(folder.record)
    if folder.record.exists():
        raise InputError(
            f"the experiment '{experiment.name}' exists already in {folder}; continue with it: "
            f"dann-search resume {folder} --address {address}, or choose another name: "
            f"--name {experiment.name}-2"
        )
    _check_idle(folder)
    with jobs.bundle_of(experiment) as bundle:
        return jobs.submit(address, ["launch", jobs.FILE], bundle, folder, variables)


def _check_sent(experiment: ExperimentConfig) -> None:
    """Refuse names that a job will not know: only files go with it."""
    stated = experiment.model_dump_json(include={"training", "space", "search"})
    for entry, module in registered_here().items():
        if f'"{entry.partition(" ")[2]}"' in stated:
            raise InputError(
                f"{entry} is registered by {module}, which does not go with the job; put it in a "
                "file and name that under 'extensions' in the experiment file"
            )


def submit_resume(
    experiment: str | Path,
    address: str,
    *,
    add_trials: int = 0,
    sets: Sequence[str] = (),
    allow_wider_space: bool = False,
    env: Sequence[str] = (),
    retry_failed: bool = False,
) -> Submitted:
    """Submit a job that resumes an experiment on storage which the cluster sees, as ``submit``.

    Raises:
        InputError: there is no such experiment, it is running, the cluster does not see it, or
            there is no cluster.
        RunError: the connection was lost, and the job may have been submitted.
    """
    folder = _unseen(experiment) or find_experiment(experiment)
    if folder.url is None and not _named_in_full(experiment, folder):
        raise InputError(
            f"{experiment}: is in {folder}, a folder of this machine; where the cluster's nodes "
            f"mount it under that very path, say so: dann-search resume {folder} --address "
            f"{address}"
        )
    _check_idle(folder)
    variables = _variables(env)
    options = [word for item in sets for word in ("--set", item)]
    if add_trials:
        options += ["--add-trials", str(add_trials)]
    options += ["--allow-wider-space"] * allow_wider_space + ["--retry-failed"] * retry_failed
    words = ["resume", str(folder), *options]
    with tempfile.TemporaryDirectory() as empty:
        return jobs.submit(address, words, Path(empty), folder, variables, jobs.ENDING_S)


def _variables(names: Sequence[str]) -> dict[str, str]:
    """Return variables of this environment by their names."""
    for name in names:
        if name not in os.environ:
            raise InputError(f"--env {name}: no such variable is set; {nearest(name, os.environ)}")
    return {name: os.environ[name] for name in names}


def next_steps(submitted: Submitted) -> list[str]:
    """List the commands that follow up a submission, here or where its storage is seen."""
    where, folder = submitted.experiment, ExperimentFolder.at(submitted.experiment)
    follow = f"follow it with: {jobs.attach_command(where, submitted.address)}"
    if not seen_here(folder):
        return [
            f"the experiment lies in {where} on the cluster, which this machine does not see; "
            f"run status, stop, best and the like there: ray exec CLUSTER.yaml 'dann-search "
            f"status {where}'",
            f"{follow} (its output; from this machine alone)",
            f"continue with it: dann-search resume {where} --address {submitted.address}",
        ]
    lines = [follow, f"stop it with: dann-search stop {where}"]
    if folder.url is None:
        lines.append(f"it lies in {where}, which must be one folder here and on all nodes")
    return lines


def attach(
    experiment: str | Path | Submitted,
    write: Callable[[str], object] = lambda text: sys.stderr.write(text),
    *,
    address: str | None = None,
) -> SearchEnded | JobEnded:
    """Follow a job to its end, and return what its search came to, if this machine sees it.

    Args:
        experiment: its folder, URL or name, or its submission.
        write: called with the job's output.
        address: address of the job server; by default the one it was submitted to. The user's
            token goes only to a server that is named, or is on this machine.

    Raises:
        InputError: there is no such job.
        RunError: the job failed, or the connection was lost.
    """
    if isinstance(experiment, Submitted):
        folder, named = ExperimentFolder.at(experiment.experiment), True
        job = Job(experiment.address, experiment.job)
    else:
        folder, named = _place(experiment), address is not None
        job = _job_of(folder)
    if address:
        job = replace(job, address=address)
    state = jobs.follow(job, folder, write, named=named)
    if not seen_here(folder):
        if state == SUCCEEDED:
            return JobEnded(
                experiment=str(folder), job=job.id, address=job.address, state=SUCCEEDED
            )
        raise RunError(
            f"job {job.id} ended as {state}; {folder} is on the cluster, which this machine does "
            f"not see; look there: ray exec CLUSTER.yaml 'dann-search status {folder}'"
        )
    folder.fetch(folder.result)
    try:
        # Written when a search ends, removed when one begins.
        return SearchEnded.model_validate_json(folder.result.read_bytes())
    except (OSError, ValueError) as exc:
        why = "" if isinstance(exc, OSError) else f" that this version can read ({folder.result})"
        raise RunError(
            f"job {job.id} ended as {state} without a result{why}; what was trained is kept: "
            f"dann-search resume {folder} --address {job.address}"
        ) from None


def _job_of(folder: ExperimentFolder) -> Job:
    """Return the last job of an experiment."""
    job = read_job(folder)
    if job is None:
        raise InputError(
            f"{folder}: it was not launched as a job (with --address http://…); "
            f"see: dann-search status {folder}"
        )
    return job


def _place(experiment: str | Path) -> ExperimentFolder:
    """Return the folder of an experiment, which its job may not have written yet."""
    try:
        return find_experiment(experiment)
    except InputError:
        folder = experiment_at(str(experiment))
        if read_job(folder):
            return folder
        raise


def _unseen(experiment: str | Path) -> ExperimentFolder | None:
    """Return the folder of a job submitted from here, if only the cluster sees it."""
    if is_url(experiment):
        return None
    folder = experiment_at(str(experiment))
    return folder if not seen_here(folder) and read_job(folder) else None


def _named_in_full(experiment: str | Path, folder: ExperimentFolder) -> bool:
    """Whether the user named an absolute path, which may be the same on all machines."""
    storage = default_storage()
    return os.path.isabs(experiment) or (
        os.path.isabs(storage) and folder.root.parent == Path(storage).resolve()
    )


def _check_idle(folder: ExperimentFolder) -> None:
    """Refuse an experiment that a driver searches, even if it has written nothing yet."""
    if driver_is_alive(folder):
        raise InputError(f"{folder}: a search is already running on it; see dann-search attach")


def stop(experiment: str | Path, *, wait_s: float = STOP_WAIT_S) -> Stopped:
    """Stop the driver of an experiment, wherever it runs, as Ctrl-C does.

    Raises:
        InputError: there is no such experiment, or nothing searches it.
        RunError: the driver has not ended in time.
    """
    if folder := _unseen(experiment):
        raise InputError(
            f"{folder}: lies on the cluster, not seen from here; stop it there: "
            f"ray exec CLUSTER.yaml 'dann-search stop {folder}'"
        )
    folder = find_experiment(experiment)
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
    return Stopped(experiment=str(folder), stopped=True)
