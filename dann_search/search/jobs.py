"""A search as a Ray job: it runs on the cluster's head and outlives whoever submitted it."""

import asyncio
import contextlib
import json
import logging
import shlex
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from dann_search.config.experiment import Experiment, WeightsFile
from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.search.authentication import bring_own_token

FILE = "experiment.yaml"
BUNDLE_LIMIT = 400 * 2**20
"""Bytes that go with a job; Ray takes up to 500 MiB."""
RECONNECT_S = 2.0
AGENT_WAIT_S = 60.0


@dataclass(frozen=True)
class Job:
    """Where a search runs: address of the cluster's job server, and Ray's name of the job."""

    address: str
    id: str


def is_job_address(address: str) -> bool:
    """Whether an address is that of a job server rather than of a cluster to join."""
    return address.startswith(("http://", "https://"))


def submit_launch(experiment: Experiment, folder: ExperimentFolder, address: str) -> Job:
    """Have the cluster at ``address`` launch an experiment.

    Raises:
        InputError: the cluster cannot be reached, or weights too large to go along.
    """
    words = ["launch", FILE, "--address", "auto"]
    with _bundle(experiment) as bundle:
        return _submit(address, words, bundle, folder)


def submit_resume(folder: ExperimentFolder, address: str, options: Sequence[str]) -> Job:
    """Have the cluster at ``address`` go on with an experiment on storage.

    Raises:
        InputError: the cluster cannot be reached.
    """
    words = ["resume", str(folder), *options, "--address", "auto"]
    with tempfile.TemporaryDirectory() as empty:
        return _submit(address, words, Path(empty), folder)


@contextmanager
def _bundle(experiment: Experiment) -> Iterator[Path]:
    """The experiment as one file, with the weights it names, in a folder that goes with the job."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights: dict[str, WeightsFile] = {}
        for number, (backbone, given) in enumerate(experiment.weights.items()):
            file = folder / "weights" / f"{number}-{given.file.name}"
            file.parent.mkdir(exist_ok=True)
            shutil.copy(given.file, file)
            weights[backbone] = given.model_copy(update={"file": file.relative_to(folder)})
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size > BUNDLE_LIMIT:
            raise InputError(
                f"weights: {size / 2**20:.0f} MiB are too many to go with a job (at most "
                f"{BUNDLE_LIMIT / 2**20:.0f}); put them where all nodes see them, and submit from "
                "there"
            )
        content = experiment.model_copy(update={"weights": weights}).model_dump(mode="json")
        (folder / FILE).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        yield folder


def _submit(address: str, words: Sequence[str], bundle: Path, folder: ExperimentFolder) -> Job:
    client = _client(address)
    job = Job(address, f"dann-search-{uuid.uuid4().hex[:12]}")
    request = {
        "submission_id": job.id,
        # Ray hands this to a shell.
        "entrypoint": shlex.join(["python", "-m", "dann_search.cli", *words]),
        "runtime_env": {
            "working_dir": str(bundle),
            # This very code, whatever version the nodes have installed.
            "py_modules": [str(Path(__file__).parents[1])],
            "excludes": ["__pycache__"],
        },
        "metadata": {"experiment": str(folder)},
    }
    until = time.monotonic() + AGENT_WAIT_S
    while True:
        try:
            client.submit_job(**request)
            break
        except RuntimeError as exc:
            # A head that has just started: its job server answers before it can run anything.
            if "No available agent" not in str(exc) or time.monotonic() > until:
                raise InputError(f"--address {address}: {_first_line(exc)}") from None
            time.sleep(RECONNECT_S)
    content = json.dumps(asdict(job)).encode()
    if folder.remote:
        folder.remote.write(folder.job.name, content)
    else:
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.job.write_bytes(content)
    return job


def job_of(folder: ExperimentFolder) -> Job:
    """The job that last searched on an experiment.

    Raises:
        InputError: it was not submitted as one.
    """
    folder.fetch(folder.job)
    try:
        return Job(**json.loads(folder.job.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise InputError(
            f"{folder}: no job searches it (it was not launched with --address http://…); "
            f"see: dann-search status {folder}"
        ) from None


def follow(job: Job, write: Callable[[str], object]) -> str:
    """Pass on what the job prints until it ends, through lost connections; returns its last state.

    Raises:
        InputError: the cluster does not know the job, or cannot be reached.
    """
    client, seen = _client(job.address), 0
    while True:
        with contextlib.suppress(RuntimeError, OSError):
            seen = asyncio.run(_tail(client, job.id, seen, write))
        try:
            state = client.get_job_status(job.id)
        except RuntimeError as exc:
            raise InputError(f"{job.address}: no job {job.id}: {_first_line(exc)}") from None
        if state.is_terminal():
            return str(state.value)
        time.sleep(RECONNECT_S)


async def _tail(client: Any, job_id: str, seen: int, write: Callable[[str], object]) -> int:
    """Characters of the log passed on so far; each connection begins at its first."""
    passed = 0
    async for text in client.tail_job_logs(job_id):
        fresh = text[max(0, seen - passed) :]
        passed += len(text)
        if fresh:
            write(fresh)
            seen = passed
    return max(seen, passed)


def _client(address: str) -> Any:
    try:
        from ray.job_submission import JobSubmissionClient

        bring_own_token()

        for name in ("ray", "ray.dashboard"):  # what it uploads is nobody's concern
            logging.getLogger(name).setLevel(logging.ERROR)
        return JobSubmissionClient(address)
    except (ImportError, RuntimeError, ConnectionError, OSError) as exc:
        if "ray[default]" in str(exc):
            raise InputError(
                "jobs need Ray's job client: pip install 'dann-search[cluster]'"
            ) from None
        raise InputError(
            f"--address {address}: no Ray job server answers there: {_first_line(exc)}; see "
            "whether the head runs and the tunnel to its port 8265 stands"
        ) from None


def _first_line(exc: BaseException) -> str:
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
