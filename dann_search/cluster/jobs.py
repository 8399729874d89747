"""A search as a Ray job, which runs on the cluster's head and outlives its submitter."""

import asyncio
import contextlib
import hashlib
import re
import shlex
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dann_search.cluster.job_record import Job, put_back, read_job, seen_here, write_job
from dann_search.config.experiment import ExperimentConfig, WeightsFile
from dann_search.config.extension_files import extensions_in_use, write_copies
from dann_search.config.load import write_resolved
from dann_search.errors import InputError, RunError
from dann_search.outputs.search import Submitted
from dann_search.storage.layout import EXTENSIONS, ExperimentFolder

FILE = "experiment.yaml"
BUNDLE_LIMIT = 400 * 2**20
"""Bytes that may go with a job; Ray accepts up to 500 MiB."""
RECONNECT_S = 2.0
SUBMIT_S = 60.0
"""How long a submission is repeated: a new head answers before it can run anything."""
LOST_S = 180.0
"""How long a job is followed without an answer: a head takes minutes to restart."""
SILENCE_S = 300.0
"""Without output for this long, connect again: a broken connection may look alive."""
ENDING_S = 45.0
"""How long a job may continue after its search has ended."""


@contextmanager
def bundle_of(experiment: ExperimentConfig) -> Iterator[Path]:
    """Yield a folder that goes with a job: the experiment as one file, weights and extensions.

    Raises:
        InputError: its weights are too large to go with the job.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights: dict[str, WeightsFile] = {}
        for number, (backbone, given) in enumerate(experiment.weights.items()):
            file = folder / "weights" / f"{number}-{given.file.name}"
            file.parent.mkdir(exist_ok=True)
            shutil.copy(given.file, file)
            weights[backbone] = given.model_copy(update={"file": file.relative_to(folder)})
        files = extensions_in_use()
        write_copies(folder / EXTENSIONS, files)
        stated = tuple(Path(EXTENSIONS, file.name) for file in files)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size > BUNDLE_LIMIT:
            raise InputError(
                f"weights: {size / 2**20:.0f} MiB are more than the {BUNDLE_LIMIT / 2**20:.0f} MiB "
                "that can be sent with a job; put them on a file system that all nodes share, and "
                "submit from a machine that sees it"
            )
        moved = experiment.model_copy(update={"weights": weights, "extensions": stated})
        write_resolved(moved, folder / FILE)
        yield folder


def submit(
    address: str,
    words: Sequence[str],
    bundle: Path,
    folder: ExperimentFolder,
    variables: Mapping[str, str],
    wait_s: float = 0.0,
) -> Submitted:
    """Submit a job that runs a command line, with a bundle of files; record it.

    Wait up to ``wait_s`` for the experiment's last job to end.

    Raises:
        InputError: the cluster cannot be reached or refuses, or a job searches the experiment.
        RunError: the connection was lost, and the job may have been submitted.
    """
    server = _connect(address, named=True)
    from dann_search.cluster.job_server import NoAnswer, Refused, patiently

    try:
        job = Job(address, _next_id(server, folder, wait_s))
    except (NoAnswer, Refused) as exc:
        raise _not_there(address, exc) from None
    request = {
        # Ray runs this in a shell.
        "entrypoint": shlex.join(["python", "-m", "dann_search.cli", *words, "--address", "auto"]),
        "runtime_env": {
            "working_dir": str(bundle),
            # This code, whatever version the nodes have installed.
            "py_modules": [str(Path(__file__).parents[1])],
            "excludes": ["__pycache__"],
            "env_vars": dict(variables),
        },
        "metadata": {"experiment": str(folder)},
    }
    before, mark = read_job(folder), uuid.uuid4().hex
    # Before the submission: if this process dies in between, the job can still be found.
    write_job(folder, job)
    try:
        ours = patiently(lambda: server.start(job.id, mark, **request), SUBMIT_S)
    except (Refused, InputError) as exc:
        put_back(folder, before)
        if isinstance(exc, InputError):
            raise
        raise InputError(f"--address {address}: the job was refused: {exc}") from None
    except NoAnswer as exc:
        raise RunError(
            f"--address {address}: no answer to the submission of job {job.id} ({exc}); it may "
            f"have been accepted, check with: {attach_command(folder, address)}; if there is no "
            "such job, repeat the command: it never starts a second one"
        ) from None
    if not ours:  # another client submitted it meanwhile; the record is right for both
        raise _already_there(folder, job)
    return Submitted(experiment=str(folder), job=job.id, address=job.address)


def _next_id(server: Any, folder: ExperimentFolder, wait_s: float) -> str:
    """Return the next id of an experiment's jobs: of clients with the same id, Ray accepts one.

    Raises:
        InputError: a job searches the experiment, and does not end within ``wait_s``.
    """
    until = time.monotonic() + wait_s
    while True:
        jobs = server.jobs_of(str(folder))
        live = [job for job in jobs if not job.status.is_terminal()]
        if not live:
            break
        if time.monotonic() >= until:
            raise _already_there(folder, Job(server.get_address(), live[0].submission_id))
        time.sleep(RECONNECT_S)
    prefix = f"dann-search-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    matches = [re.fullmatch(rf"{prefix}-(\d+)", job.submission_id) for job in jobs]
    last = max((int(match[1]) for match in matches if match), default=0)
    return f"{prefix}-{last + 1}"


def _already_there(folder: ExperimentFolder, job: Job) -> InputError:
    return InputError(
        f"{folder}: job {job.id} on {job.address} is already searching it; follow it with: "
        f"{attach_command(folder, job.address)}"
    )


def _not_known(folder: ExperimentFolder, job: Job) -> InputError:
    folder.fetch(folder.record)
    laid_out = folder.record.exists() or not seen_here(folder)
    then = f"continue with: dann-search resume {folder} --address {job.address}"
    return InputError(
        f"{job.address}: no job {job.id}: it has not been submitted yet, or the head was restarted "
        f"since; {then if laid_out else 'repeat the launch: it never starts a second one'}"
    )


def attach_command(folder: ExperimentFolder | str, address: str) -> str:
    """Return the command that follows a job, with the address if it needs the token."""
    from dann_search.cluster.job_server import is_loopback

    named = "" if is_loopback(address) else f" --address {address}"
    return f"dann-search attach {folder}{named}"


def follow(
    job: Job, folder: ExperimentFolder, write: Callable[[str], object], *, named: bool
) -> str:
    """Pass on a job's output until it ends, across lost connections; return its last state.

    ``named``: whether the user named the job's address, see ``JobServer``.

    Raises:
        InputError: the cluster has no such job, cannot be reached, or refuses this user.
        RunError: the connection was lost for longer than ``LOST_S``; the job continues.
    """
    server = _connect(job.address, named=named)
    from dann_search.cluster.job_server import NoAnswer, Refused, patiently

    log = _Log(write)
    again = f"follow it again with: {attach_command(folder, job.address)}"
    while True:
        log.pass_on(server.tail_job_logs(job.id))
        try:
            details = patiently(
                lambda: server.details(job.id),
                LOST_S,
                lambda exc: write(f"connection lost ({exc}); the job continues, reconnecting\n"),
            )
        except (NoAnswer, Refused) as exc:
            raise RunError(
                f"{job.address} has not answered for {LOST_S:.0f} s ({exc}); job {job.id} "
                f"continues as long as the cluster runs; {again}"
            ) from None
        except InputError as exc:
            raise InputError(f"{exc}; job {job.id} continues; {again}") from None
        if details is None:
            raise _not_known(folder, job)
        if details.status.is_terminal():
            return str(details.status.value)
        time.sleep(RECONNECT_S)


@dataclass
class _Log:
    """The output of a job, passed on once however often the connection is made again."""

    write: Callable[[str], object]
    seen: int = 0
    """Number of characters passed on."""

    def pass_on(self, stream: AsyncIterator[str]) -> None:
        """Pass on the stream until it ends, breaks or is silent for too long."""
        import aiohttp

        with contextlib.suppress(aiohttp.ClientError, TimeoutError, RuntimeError, OSError):
            asyncio.run(self._pass_on(stream))

    async def _pass_on(self, stream: AsyncIterator[str]) -> None:
        passed = 0  # each connection begins at the first character
        while True:
            try:
                text = await asyncio.wait_for(anext(stream), SILENCE_S)
            except StopAsyncIteration:
                return
            fresh = text[max(0, self.seen - passed) :]
            passed += len(text)
            self.seen = max(self.seen, passed)
            if fresh:
                self.write(fresh)


def _connect(address: str, *, named: bool) -> Any:
    """Connect to the job server at an address.

    Raises:
        InputError: none answers, or it refuses this user.
    """
    try:
        from dann_search.cluster.job_server import JobServer, NoAnswer
    except ImportError:
        raise InputError("jobs need Ray's job client: pip install 'dann-search[cluster]'") from None
    try:
        server = JobServer(address, named=named)
        server.check()
    except (NoAnswer, RuntimeError) as exc:
        raise _not_there(address, exc) from None
    return server


def _not_there(address: str, exc: Exception) -> InputError:
    return InputError(
        f"--address {address}: no Ray job server answers there: {exc}; check that the head is "
        "running and that the tunnel to its port 8265 is open"
    )
