"""Whether all nodes share the storage and reach the data of a search."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from dann_search.cluster.doctor.needs import data_places
from dann_search.cluster.file.launcher_file import CLOUDS, LauncherFile
from dann_search.config.data import DataConfig
from dann_search.config.source import SourceFile
from dann_search.outputs.cluster import Finding

MOUNT = re.compile(
    r"\b(mount|mount\.\w+|mountpoint|findmnt|gcsfuse|s3fs|mount-s3|sshfs|juicefs mount)\s"
)
BIND = re.compile(r"(?:-v|--volume)[=\s]+[\"']?[^\s:\"']+:([^\s:\"']+)")


def check_sharing(
    file: LauncherFile, space: SourceFile, storage: str, data: DataConfig, origin: str | None
) -> Iterator[Finding]:
    """Check the storage and the data of a search.

    Args:
        file: the cluster's file.
        space: the experiment's file.
        storage: URL or absolute path of the storage.
        data: where the data are, by URLs and absolute paths.
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
    for place in data_places(data):
        if "://" not in place.where and not _is_below(place.where, [*shared, *file.brought]):
            yield report(
                place.path,
                f"{place.where} is on this machine and the nodes do not see it; copy it to object "
                "storage and name its URL, or bring it with file_mounts",
                space,
            )


def _mounts(file: LauncherFile) -> list[str]:
    """Return where the file mounts a file system, as the nodes' Python processes see it."""
    worker = file.nodes[1]
    if worker.image:
        # A container sees what its host mounts only where it is bound as well.
        places = BIND.findall(" ".join(option.text for option in worker.options))
    else:
        mounting = " ".join(one.text for one in file.commands if MOUNT.search(one.text))
        places = re.split(r"[\s\"';&|]+", mounting)
    return [place for place in places if place.startswith("/") and place != "/"]


def _is_below(path: str, places: list[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(place) for place in places if place)
