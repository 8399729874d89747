"""Whether all nodes share the storage and reach the data of a search."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from dann_search.cluster.file.launcher_file import CLOUDS, LauncherFile, section
from dann_search.config.data import PLACES
from dann_search.config.source import KeyPath, SourceFile
from dann_search.outputs.cluster import Finding

MOUNT = re.compile(
    r"\b(mount|mount\.\w+|mountpoint|findmnt|gcsfuse|s3fs|mount-s3|sshfs|juicefs mount)\s"
)
BIND = re.compile(r"(?:-v|--volume)[=\s]+[\"']?[^\s:\"']+:([^\s:\"']+)")


def check_sharing(
    file: LauncherFile, space: SourceFile, storage: str, origin: str | None
) -> Iterator[Finding]:
    """Check the storage and the data of a search.

    Args:
        file: the cluster's file.
        space: the experiment's file.
        storage: URL or absolute path of the storage.
        origin: the option that names the storage instead of the file.
    """
    report = file.error if file.provider in CLOUDS else file.warning
    shared = _mounts(file)
    if "://" not in storage and not _is_below(storage, shared):
        message = (
            f"{storage} is on each node's own disk, which goes with the node; "
            "name object storage (s3://bucket/runs) or a mounted file system"
        )
        yield report((), f"{origin}: {message}") if origin else report(("storage",), message, space)
    brought = [str(target) for target in section(file.content, "file_mounts")]
    for path, place in _places(section(space.content, "data")):
        where = str(space.base(path) / PurePosixPath(place))
        if "://" not in place and not _is_below(where, [*shared, *brought]):
            yield report(
                path,
                f"{where} is on this machine and the nodes do not see it; copy it to object "
                "storage and name its URL, or bring it with file_mounts",
                space,
            )


def _places(data: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the folders, manifests and URLs of all domains, by key."""
    for role in ("source", "target"):
        one = data.get(role)
        domains = enumerate(one) if isinstance(one, list) else [(None, one)]
        for index, domain in domains:
            for key in ("root", *PLACES):
                if isinstance(domain, dict) and isinstance(domain.get(key), str):
                    inner: KeyPath = () if index is None else (index,)
                    yield ("data", role, *inner, key), domain[key]
    target = data.get("target")
    few = target.get("labels") if isinstance(target, dict) else None
    if isinstance(few, dict) and isinstance(few.get("folder"), str):
        yield ("data", "target", "labels", "folder"), few["folder"]


def _mounts(file: LauncherFile) -> list[str]:
    """Return where the file mounts a file system, as the nodes' Python processes see it."""
    if file.image(file.a_worker):
        # A container sees what its host mounts only where it is bound as well.
        places = BIND.findall(" ".join(option.text for option in file.options(file.a_worker)))
    else:
        places = [
            w
            for c in file.commands
            if MOUNT.search(c.text)
            for w in re.split(r"[\s\"';&|]+", c.text)
        ]
    return [place for place in places if place.startswith("/") and place != "/"]


def _is_below(path: str, places: list[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(place) for place in places if place)
