"""Which job searches on an experiment: written where the experiment lies, before it is submitted.

Where the experiment lies on the cluster's own disk, which this machine does not see, the record is
in this user's cache folder.
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
    """Where a search runs: address of the cluster's job server, and Ray's name of the job."""

    address: str
    id: str


def seen_here(folder: ExperimentFolder) -> bool:
    """Whether this machine sees the storage of an experiment, so far as can be told."""
    return folder.url is not None or folder.root.parent.parent.is_dir()


def write_job(folder: ExperimentFolder, job: Job) -> None:
    """Note a job, in the place of an earlier one.

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
    """The job that was last noted; None where there is none, or what is there is damaged.

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
    """Leave what was noted before a job that was not submitted."""
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
