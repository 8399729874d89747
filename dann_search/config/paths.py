"""Where the paths of an experiment file lead: absolute, and checked while their line is known."""

import os
from pathlib import Path

from dann_search.config.data import PLACES, DataConfig, DomainConfig
from dann_search.config.database_url import absolute_url, expanded
from dann_search.config.experiment import ExperimentConfig, SearchConfig
from dann_search.config.messages import shown
from dann_search.config.source import KeyPath, SourceFile
from dann_search.errors import InputError
from dann_search.storage.layout import STORAGE_VARIABLE, ExperimentFolder, default_storage
from dann_search.storage.remote_folder import is_url

STUDY: KeyPath = ("search", "study")
WARM_START: KeyPath = ("search", "warm_start")
STORAGE: KeyPath = ("storage",)
LABELS_FOLDER: KeyPath = ("data", "target", "labels", "folder")


def with_located_paths(experiment: ExperimentConfig, source: SourceFile) -> ExperimentConfig:
    """All paths absolute. The default storage alone lies in the working folder, not by the file.

    Raises:
        InputError: a path is none.
    """
    domains = [
        domain.model_copy(
            update={
                key: _placed(source, (*path, key), place)
                for key in ("root", *PLACES)
                if (place := getattr(domain, key)) is not None
            }
        )
        for path, domain in _domains(experiment.data)
    ]
    weights = {
        name: entry.model_copy(update={"file": located(source, ("weights", name), entry.file)})
        for name, entry in experiment.weights.items()
    }
    extensions = tuple(
        located(source, ("extensions", number), path)
        for number, path in enumerate(experiment.extensions)
    )
    stated = "storage" in source.content
    storage = experiment.storage if stated else default_storage()
    if is_url(storage):
        storage = _placed(source, STORAGE, str(storage))
    else:
        base = source.base(STORAGE) if stated else Path.cwd()
        storage = located(source, STORAGE, Path(storage), base)
    if (few := domains[-1].labels) and isinstance(few.folder, Path):
        place = located(source, LABELS_FOLDER, few.folder)
        labels = few.model_copy(update={"folder": place})
        domains[-1] = domains[-1].model_copy(update={"labels": labels})
    one = isinstance(experiment.data.source, DomainConfig)
    data = experiment.data.model_copy(
        update={"source": domains[0] if one else tuple(domains[:-1]), "target": domains[-1]}
    )
    return experiment.model_copy(
        update={
            "data": data,
            "weights": weights,
            "extensions": extensions,
            "storage": storage,
            "search": _search(experiment.search, source),
        }
    )


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


def _placed(source: SourceFile, path: KeyPath, place: str | Path) -> str | Path:
    """Return a path as ``located`` does, or a URL with the values of its variables."""
    if isinstance(place, Path):
        return located(source, path, place)
    try:
        return expanded(place)
    except ValueError as exc:
        raise source.error(path, f"not a usable URL: {shown(place)} ({exc})") from None


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
    for path, domain in _domains(experiment.data):
        for key in PLACES:
            place = getattr(domain, key)
            exists = os.path.isfile if key == "manifest" else os.path.isdir
            if isinstance(place, Path) and not exists(place):
                kind = "file" if key == "manifest" else "folder"
                raise source.error((*path, key), f"no such {kind}: {place}")
    few = experiment.data.target.labels
    if few and isinstance(few.folder, Path) and not os.path.isdir(few.folder):
        raise source.error(LABELS_FOLDER, f"no such folder: {few.folder}")


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
    own = (
        value.partition("://")[0] in ("file", "local", "memory")
        if is_url(value)
        else (not os.path.isabs(value))
    )
    if not own:
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


def _domains(data: DataConfig) -> list[tuple[KeyPath, DomainConfig]]:
    """Every domain and its place in the file."""
    if isinstance(data.source, DomainConfig):
        sources: list[tuple[KeyPath, DomainConfig]] = [(("data", "source"), data.source)]
    else:
        sources = [(("data", "source", number), one) for number, one in enumerate(data.source)]
    return [*sources, (("data", "target"), data.target)]
