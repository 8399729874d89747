"""The record of the job that searches an experiment, written before the job is submitted.

It is stored with the experiment, or in this user's cache folder if this machine does not see the
experiment's storage.
"""

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dann_search.storage.atomic_file import write_atomically
from dann_search.storage.layout import ExperimentFolder
from dann_search.storage.remote_folder import cache_folder


@dataclass(frozen=True)
class Job:
    """Address of a cluster's job server, and Ray's id of the job."""

    address: str
    id: str


def seen_here(folder: ExperimentFolder) -> bool:
    """Whether this machine sees the storage of an experiment, judged by the folder above it."""
    return folder.url is not None or folder.root.parent.parent.is_dir()


def write_job(folder: ExperimentFolder, job: Job) -> None:
    """Write the record of a job, which replaces that of an earlier one.

    Raises:
        RunError: storage behind a URL cannot be written.
    """
    content = json.dumps(asdict(job)).encode()
    if folder.remote:
        folder.remote.write(folder.job.name, content)
        return
    if seen_here(folder):
        with contextlib.suppress(OSError):
            _write(folder.job, content)
            return
    _write(_own_note(folder), content)


def read_job(folder: ExperimentFolder) -> Job | None:
    """Read the record of the last job; None if there is none, or it is damaged.

    Raises:
        RunError: storage behind a URL cannot be read.
    """
    folder.fetch(folder.job)
    for place in (folder.job, _own_note(folder)):
        try:
            return Job(**json.loads(place.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
    return None


def put_back(folder: ExperimentFolder, before: Job | None) -> None:
    """Restore the record from before a job that was not submitted."""
    if before:
        write_job(folder, before)
        return
    folder.remove(folder.job)
    _own_note(folder).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.root.rmdir()  # if nothing else is in it


def _own_note(folder: ExperimentFolder) -> Path:
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return cache_folder() / "jobs" / f"{digest}.json"


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, content)
