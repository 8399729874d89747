"""Storage that all nodes share and data that all of them reach."""

import re
from pathlib import PurePosixPath
from typing import Any

from dann_search.cluster.file.cluster_file import ClusterFile
from dann_search.cluster.file.finding import Notes
from dann_search.config.data import PLACES
from dann_search.config.source import KeyPath, SourceFile

MOUNTS = re.compile(
    r"\b(mount|mount\.\w+|mountpoint|findmnt|gcsfuse|s3fs|mount-s3|sshfs|juicefs mount)\s"
)
BIND = re.compile(r"(?:-v|--volume)[=\s]+[\"']?[^\s:\"']+:([^\s:\"']+)")
PACKAGES = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "az": ("adlfs", None),
    "abfs": ("adlfs", None),
}
"""What a URL's scheme needs, and this project's extra that brings it."""


def check_sharing(
    file: ClusterFile, notes: Notes, space: SourceFile, storage: str, origin: str | None
) -> None:
    """Storage and data of a search space.

    Args:
        file: the cluster.
        notes: told what is wrong.
        space: the experiment's file.
        storage: where experiments are to lie: a URL or an absolute path.
        origin: what said so in the place of the file, such as ``--storage runs``.
    """
    if "://" in storage:
        _check_package(file, notes, storage)
    elif not _is_shared(storage, file):
        report = notes.error if file.provider in ("aws", "gcp") else notes.warning
        message = (
            f"{storage} is on each node's own disk, which goes with the node; "
            "name object storage (s3://bucket/runs) or a mounted file system"
        )
        if origin is None:
            report(("storage",), message, space)
        else:
            report((), f"{origin}: {message}")
    data = space.content.get("data")
    for path, domain in _domains(data if isinstance(data, dict) else {}):
        for key in ("root", *PLACES):
            _check_place(domain.get(key), (*path, key), file, notes, space)


def _check_place(
    place: Any, path: KeyPath, file: ClusterFile, notes: Notes, space: SourceFile
) -> None:
    if not isinstance(place, str) or "://" in place:
        return
    where = str(space.base(path) / PurePosixPath(place))
    if _is_shared(where, file) or _is_mounted(where, file):
        return
    report = notes.error if file.provider in ("aws", "gcp") else notes.warning
    report(
        path,
        f"{where} is on this machine and the nodes do not see it; copy it to object storage and "
        "name its URL, or bring it with file_mounts",
        space,
    )


def _domains(data: dict[str, Any]) -> list[tuple[KeyPath, dict[str, Any]]]:
    found: list[tuple[KeyPath, dict[str, Any]]] = []
    for role in ("source", "target"):
        one = data.get(role)
        items = one if isinstance(one, list) else [one]
        for index, item in enumerate(items):
            if isinstance(item, dict):
                inner: KeyPath = (index,) if isinstance(one, list) else ()
                found.append((("data", role, *inner), item))
    return found


def _is_shared(path: str, file: ClusterFile) -> bool:
    """Whether a command of the file mounts something at the path or above it."""
    places = [
        word
        for command in file.all_commands
        if MOUNTS.search(command.text)
        for word in command.words
        if word.startswith("/") and len(word) > 1
    ]
    if file.docker:
        # What the host mounts is in the container only where it is bound there too.
        options = " ".join(file.worker_options(next(iter(file.workers), None)))
        places = [target for target in BIND.findall(options) if len(target) > 1]
    return any(PurePosixPath(path).is_relative_to(place) for place in places)


def _is_mounted(path: str, file: ClusterFile) -> bool:
    mounts = file.content.get("file_mounts")
    targets = [str(target) for target in mounts] if isinstance(mounts, dict) else []
    return any(PurePosixPath(path).is_relative_to(t) for t in targets if t.startswith("/"))


def _check_package(file: ClusterFile, notes: Notes, storage: str) -> None:
    package, extra = PACKAGES.get(storage.partition("://")[0], (None, None))
    commands = [c.text for c in file.all_commands if "pip install" in c.text]
    # Without a pip command the image is a made one, and nobody can tell what it holds.
    if package is None or not commands:
        return
    brings = re.compile(rf"\b{package}\b" + (rf"|\[[^\]]*\b{extra}\b" if extra else ""))
    if not any(brings.search(text) for text in commands):
        what = f"the extra dann-search[{extra}]" if extra else package
        notes.error(
            ("setup_commands",), f"nothing installs {package}, which {storage} needs: add {what}"
        )
