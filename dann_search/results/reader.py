"""Read an experiment's folder: its record and its trials.

Imports neither torch nor Ray, and Optuna only where a study is opened.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dann_search.config.entries import RECORDED
from dann_search.config.experiment import ExperimentConfig
from dann_search.config.extension_files import read_copies, use_extensions
from dann_search.config.extensions import is_registered
from dann_search.config.paths import WARM_START
from dann_search.config.source import SettingError
from dann_search.config.start_points import KnownTrial
from dann_search.errors import InputError, RunError, nearest
from dann_search.outputs.shared import StoppedBy
from dann_search.results.rows import TrialRow, rows_of
from dann_search.results.sqlite_study import read_sqlite_study
from dann_search.storage.driver_lock import driver_is_alive, driver_is_here, trouble_of
from dann_search.storage.layout import ExperimentFolder, default_storage
from dann_search.storage.remote_folder import RemoteFolder, is_url
from dann_search.study.study_names import EXPERIMENT, STOPPED_BY, TOTAL, own


def open_experiment(name_or_path: str | Path) -> ExperimentFolder:
    """Find an experiment, as ``find_experiment``, and use its extensions.

    Raises:
        InputError: there is no such experiment, or its extensions cannot be used.
    """
    folder = find_experiment(name_or_path)
    use_recorded_extensions(folder)
    return folder


def use_recorded_extensions(folder: ExperimentFolder) -> None:
    """Execute an experiment's copies of its ``extensions``, unless they are in use.

    Only for an experiment that the user named: it runs code.

    Raises:
        InputError: a copy is missing, was changed, or fails.
    """
    hashes = read_record(folder).get("extensions", {})
    folder.refresh(*(folder.extensions / Path(name).name for name in hashes))
    use_extensions(read_copies(folder.extensions, hashes))


def check_registered(folder: ExperimentFolder) -> None:
    """Check that what a script or a notebook registered for a search is registered again.

    Raises:
        InputError: something is not.
    """
    recorded = read_record(folder).get("registered", {})
    missing = [
        f"{entry} (by {module})" for entry, module in recorded.items() if not is_registered(entry)
    ]
    if missing:
        raise InputError(
            f"{folder}: was searched with what is not registered here: {', '.join(missing)}; "
            "register it again first; what is in a file under 'extensions' is found by itself"
        )


def find_experiment(
    name_or_path: str | Path, storage: str | Path | None = None
) -> ExperimentFolder:
    """Find an experiment by its folder, or by its name under ``runs`` or another ``storage``.

    Nothing of it is executed.

    Raises:
        InputError: there is no such experiment.
    """
    storages = _storages(storage)
    for folder in possible_folders(name_or_path, storage):
        if folder.record.is_file():
            return folder
    if is_url(name_or_path) or Path(name_or_path).exists():
        raise InputError(f"{name_or_path}: no experiment (it has no {folder.record.name})")
    names = {name for one in storages for name in experiment_names(one)}
    hint = nearest(name_or_path, names) if names else f"there are none under {storages[0]}/"
    raise InputError(f"no experiment '{name_or_path}'; {hint}")


def possible_folders(
    name_or_path: str | Path, storage: str | Path | None = None
) -> Iterator[ExperimentFolder]:
    """Yield the folders that a user may mean by a path or a name, whether they exist or not."""
    yield experiment_at(str(name_or_path))
    if not is_url(name_or_path):
        for one in _storages(storage):
            yield experiment_at(f"{one.rstrip('/')}/{name_or_path}")


def _storages(storage: str | Path | None) -> list[str]:
    return [default_storage()] if storage is None else [str(storage), default_storage()]


def experiment_at(place: str) -> ExperimentFolder:
    """Return the folder at a path or URL, which need not exist; refreshed if it is behind a URL."""
    folder = ExperimentFolder.at(place if is_url(place) else Path(place).expanduser().resolve())
    refresh(folder)
    return folder


def refresh(folder: ExperimentFolder) -> None:
    """Download record and study if storage is behind a URL.

    While a driver on this machine writes them, they are left alone.
    """
    if folder.remote is None or driver_is_here(folder.lock):
        return
    folder.refresh(
        folder.record, folder.study, folder.study_journal, folder.leaderboard, folder.job
    )


def experiment_names(storage: str) -> list[str]:
    """List the names of the experiments under a storage folder or URL."""
    if is_url(storage):
        remote = RemoteFolder.of(storage)
        record = ExperimentFolder(remote.local).record.name
        return [name for name in remote.folders() if remote.exists(f"{name}/{record}")]
    if not Path(storage).is_dir():
        return []
    folders = Path(storage).iterdir()
    return sorted(p.name for p in folders if ExperimentFolder(p).record.is_file())


def read_record(folder: ExperimentFolder) -> dict[str, Any]:
    """Read the record that the launch wrote: experiment, versions, data.

    Raises:
        InputError: the record is damaged.
    """
    try:
        content = yaml.safe_load(folder.record.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise InputError(f"{folder.record}: cannot be read: {exc}") from None
    if not isinstance(content, dict) or not {"experiment", "data", "versions"} <= content.keys():
        raise InputError(f"{folder.record}: not the record of an experiment")
    return content


def read_experiment(folder: ExperimentFolder) -> ExperimentConfig:
    """Read the experiment as it was launched; its folder may have been moved or renamed since.

    Its extensions need not be in use.
    """
    try:
        return ExperimentConfig.model_validate(read_record(folder)["experiment"], context=RECORDED)
    except ValidationError as exc:
        raise InputError(f"{folder.record}: {exc.errors()[0]['msg']}") from None


def read_trials(folder: ExperimentFolder) -> list[TrialRow]:
    """Read every trial of the study, by number; none if there is no study yet."""
    refresh(folder)
    experiment = read_experiment(folder)
    trials, _ = _read_study(folder, experiment)
    return rows_of(experiment, trials)


@dataclass(frozen=True)
class SearchState:
    """A search at one moment.

    Attributes:
        experiment: what is searched.
        rows: its trials, by number.
        total: number of trials it will have.
        stopped_by: why it last ended; None while it runs, and after a crash.
        searching: whether a driver is at work.
        reported: Unix time at which a trial last reported an epoch or its end.
        trouble: what it waits for: storage that does not answer.
    """

    experiment: ExperimentConfig
    rows: list[TrialRow]
    total: int
    stopped_by: StoppedBy | None
    searching: bool
    reported: float | None
    trouble: str | None = None


def read_search(folder: ExperimentFolder) -> SearchState:
    """Read a search, also while another process runs it."""
    # Asked first: if the search ends while we read, we have everything it wrote.
    searching = driver_is_alive(folder)
    refresh(folder)
    experiment = read_experiment(folder)
    trials, attributes = _read_study(folder, experiment)
    rows = rows_of(experiment, trials)
    total = int(attributes.get(TOTAL, experiment.search.trials))
    if (size := _size_of_space(experiment)) is not None:
        # Searches of earlier versions trained the recipes of a finite space several times.
        total = min(total, max(size, sum(row.confirms is None for row in rows)))
    times = [row.ended for row in rows if row.ended is not None]
    for row in rows:
        if row.state == "running":
            # A trial writes its checkpoint, then reports the epoch.
            times += _written(folder.trial(row.number))
    return SearchState(
        experiment=experiment,
        rows=rows,
        total=total,
        stopped_by=attributes.get(STOPPED_BY),
        searching=searching,
        reported=max(times, default=None),
        trouble=trouble_of(folder) if searching else None,
    )


def _size_of_space(experiment: ExperimentConfig) -> int | None:
    """Return the number of recipes; None where there is no end, or its backbones are not here."""
    from dann_search.config.grid import combinations
    from dann_search.config.space import build_space
    from dann_search.models.registry import stage_counts

    try:
        return combinations(build_space(experiment, stage_counts()))
    except (SettingError, KeyError):
        return None


def _written(folder: Path) -> list[float]:
    """Return the modification time of each file of a trial."""
    times = []
    for path in folder.glob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):  # a newer checkpoint replaced it
            times.append(path.stat().st_mtime)
    return times


def open_study_trials(folder: ExperimentFolder) -> list[Any]:
    """Return Optuna's trials of an experiment, by number.

    Raises:
        InputError: the study cannot be opened.
    """
    refresh(folder)
    return _read_by_optuna(folder, read_experiment(folder))[0]


def _read_study(
    folder: ExperimentFolder, experiment: ExperimentConfig
) -> tuple[list[Any], dict[str, Any]]:
    """Return what rows need of the study's trials, and its attributes; without Optuna if it can."""
    stated = experiment.search.study
    if stated == "sqlite" or (stated == "auto" and not folder.study_journal.exists()):
        found = read_sqlite_study(folder.study, experiment.name)
        owner = found and found[1].get(EXPERIMENT)
        if found and owner in (None, read_record(folder).get("id")):
            return own(found[0]), found[1]
    return _read_by_optuna(folder, experiment)


def _read_by_optuna(
    folder: ExperimentFolder, experiment: ExperimentConfig
) -> tuple[list[Any], dict[str, Any]]:
    """Return the study's trials and attributes; empty if there is no study yet."""
    import optuna

    from dann_search.study.study_storage import find_study, opened, study_place

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = study_place(folder, experiment.search.study)
    if not place.exists(experiment.name):
        from dann_search.study.open_study import check_not_lost

        check_not_lost(folder, place, experiment.name)
        return [], {}
    with opened(place) as storage:
        study = find_study(storage, place, experiment.name, folder)
        trials = storage.get_all_trials(study, deepcopy=False)
        attributes = storage.get_study_user_attrs(study)
        return own(trials), attributes


def known_trials(experiment: ExperimentConfig) -> list[KnownTrial]:
    """Return the completed trials of the experiment in ``search.warm_start``; none without the key.

    Raises:
        InputError: there is no such experiment, or it has another objective.
    """
    if experiment.search.warm_start is None:
        return []
    try:
        folder = find_experiment(experiment.search.warm_start, experiment.storage)
        other, rows = read_experiment(folder), read_trials(folder)
    except (InputError, RunError) as exc:  # also if storage does not answer
        raise SettingError(WARM_START, str(exc)) from None
    if other.search.objective != experiment.search.objective:
        raise SettingError(
            WARM_START,
            f"{folder.root} was searched by {other.search.objective}, "
            f"this experiment by {experiment.search.objective}: their values cannot be compared",
        )
    found = [
        KnownTrial(f"{other.name} trial {row.number}", row.config, row.score)
        for row in rows
        if row.state == "completed" and row.score is not None
    ]
    if not found:
        raise SettingError(WARM_START, f"{folder.root} has no completed trial")
    return found
