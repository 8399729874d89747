"""Where the paths of an experiment file lead: absolute, and checked while their line is known."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from dann_search.config.data import PLACES, DomainConfig, HuggingFaceSet, TargetLabels
from dann_search.config.database_url import absolute_url, expanded
from dann_search.config.experiment import ExperimentConfig, SearchConfig
from dann_search.config.messages import shown
from dann_search.config.source import KeyPath, SourceFile
from dann_search.config.strict import Strict
from dann_search.errors import InputError
from dann_search.storage.layout import STORAGE_VARIABLE, ExperimentFolder, default_storage
from dann_search.storage.remote_folder import is_url

STUDY: KeyPath = ("search", "study")
WARM_START: KeyPath = ("search", "warm_start")
STORAGE: KeyPath = ("storage",)

PACKED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
"""Endings of archives, which are not read."""


def with_located_paths(experiment: ExperimentConfig, source: SourceFile) -> ExperimentConfig:
    """All paths absolute. The default storage alone lies in the working folder, not by the file.

    Raises:
        InputError: a path is none.
    """
    weights = {
        name: entry.model_copy(update={"file": located(source, ("weights", name), entry.file)})
        for name, entry in experiment.weights.items()
    }
    if "storage" in source.content:
        storage = _placed(source, STORAGE, experiment.storage)
    elif is_url(storage := default_storage()):
        storage = _placed(source, STORAGE, str(storage))
    else:
        storage = located(source, STORAGE, Path(storage), Path.cwd())
    update = {
        "data": _placed(source, ("data",), experiment.data),
        "weights": weights,
        "extensions": _placed(source, ("extensions",), experiment.extensions),
        "storage": storage,
        "search": _search(experiment.search, source),
    }
    return experiment.model_copy(update=update)


def _placed(source: SourceFile, path: KeyPath, value: Any) -> Any:
    """Return a value, or all of a section or list, with absolute paths and complete URLs."""
    match value:
        case Strict():
            held = {name: getattr(value, name) for name in type(value).model_fields}
            new = {name: _placed(source, (*path, name), one) for name, one in held.items()}
            return value.model_copy(update={n: one for n, one in new.items() if one != held[n]})
        case tuple():
            return tuple(_placed(source, (*path, n), one) for n, one in enumerate(value))
        case Path():
            return located(source, path, value)
        case str() if is_url(value):
            try:
                return expanded(value)
            except ValueError as exc:
                raise source.error(path, f"not a usable URL: {shown(value)} ({exc})") from None
    return value


def _search(search: SearchConfig, source: SourceFile) -> SearchConfig:
    update: dict[str, object] = {}
    if "://" in search.study:
        update["study"] = absolute_url(search.study, source.base(STUDY))
    if search.warm_start is not None:
        # Otherwise it is the name of an experiment under some storage folder.
        beside = located(source, WARM_START, search.warm_start)
        if ExperimentFolder(beside).record.is_file():
            update["warm_start"] = beside
    return search.model_copy(update=update)


def located(source: SourceFile, path: KeyPath, value: Path, base: Path | None = None) -> Path:
    """Resolve a path relative to the file that states it, or to ``base``.

    ``~`` and variables of the environment (``$SCRATCH``) are replaced by their values, unless there
    is a file or folder of that very name.

    Raises:
        InputError: it is no path, or a variable is not set.
    """
    base = base or source.base(path)
    try:
        if not os.path.lexists(base / value):
            value = Path(expanded(str(value))).expanduser()
        return (base / value).resolve()
    except (OSError, RuntimeError, ValueError) as exc:
        raise source.error(path, f"not a usable path: {shown(str(value))} ({exc})") from None


def check_data(experiment: ExperimentConfig, source: SourceFile) -> None:
    """Have the folders and files of the domains.

    Raises:
        InputError: one is not there.
    """
    data = experiment.data
    several = isinstance(data.source, tuple)
    domains: list[tuple[KeyPath, DomainConfig]] = [
        (("data", "source", n) if several else ("data", "source"), domain)
        for n, domain in enumerate(data.sources)
    ]
    domains += [(("data", "target"), data.target)]
    sections: list[tuple[KeyPath, DomainConfig | TargetLabels | HuggingFaceSet | None]] = [*domains]
    sections += [(("data", "target", "labels"), data.target.labels)]
    sections += [((*at, "huggingface"), one.huggingface) for at, one in domains]
    for path, section in sections:
        for key in PLACES:
            place = getattr(section, key, None)
            exists = os.path.isfile if key == "manifest" else os.path.isdir
            if isinstance(place, Path) and not exists(place):
                sought = absent(place, "file" if key == "manifest" else "folder")
                raise source.error((*path, key), sought)


def absent(place: Path, kind: Literal["file", "folder"]) -> str:
    """Say that no ``kind`` is there, and what may be meant instead."""
    if os.path.isfile(place):  # Path.is_file fails where a name is too long
        packed = place.suffix.lower() in PACKED
        remedy = "unpack it" if packed else "a table of images is named under 'manifest'"
        return f"not a folder but a file: {place}; {remedy}"
    if os.path.isdir(place):
        return f"not a file but a folder: {place}; folders are named under 'folder'"
    try:
        beside = [one.name for one in place.parent.iterdir() if one.is_dir() == (kind == "folder")]
    except OSError:
        beside = []
    meant = get_close_matches(place.name, beside, n=1)
    return f"no such {kind}: {place}" + (f"; did you mean '{meant[0]}'?" if meant else "")


def check_cluster_storage(source: SourceFile) -> None:
    """For a search that runs elsewhere: refuse storage that is somewhere on this machine.

    Raises:
        InputError: it is not named, or relative to a folder of this machine.
    """
    rule = (
        "must be a URL such as s3://bucket/runs, or the absolute path of a folder that all nodes "
        "of the cluster mount"
    )
    value = str(source.content.get("storage") or default_storage())
    scheme, is_elsewhere, _ = value.partition("://")
    if scheme not in ("file", "local", "memory") if is_elsewhere else os.path.isabs(value):
        return
    what = f"{rule}, got {shown(value)}: of this machine, which the cluster does not see"
    if "storage" in source.content:
        raise source.error(STORAGE, what)
    if os.environ.get(STORAGE_VARIABLE):
        raise InputError(f"${STORAGE_VARIABLE}: {what}")
    raise source.error(STORAGE, f"is missing: {what} (the default); name another with --storage")


def check_weights(experiment: ExperimentConfig, source: SourceFile) -> None:
    """Have the files of pre-trained weights.

    Raises:
        InputError: one is not there.
    """
    for backbone, weights in experiment.weights.items():
        if not os.path.isfile(weights.file):
            raise source.error(("weights", backbone), f"no such file: {weights.file}")
