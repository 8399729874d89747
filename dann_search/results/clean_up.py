"""Delete what a search no longer needs: checkpoints of lesser trials, logs."""

import shutil
from contextlib import nullcontext

from dann_search.data.feature_folder import FEATURES
from dann_search.outputs.trials import CleanedUp
from dann_search.results.leaderboard import finished
from dann_search.results.reader import read_experiment, read_trials
from dann_search.results.rows import TrialRow
from dann_search.storage.compare_lock import alone, left_labels, remove_left_labels
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder
from dann_search.study.retention import MODEL, TO_GO_ON, left_files, models_to_keep

KEEP = 5
"""Trials whose models are kept by default."""


def clean_up(folder: ExperimentFolder, keep: int = KEEP, dry_run: bool = False) -> CleanedUp:
    """Delete what neither a resume nor any other command needs.

    Of trials that are over: the checkpoints to resume from, and the models of all but the ``keep``
    best and of finalists that were confirmed. Besides: Ray's logs, what killed processes left half
    written, features of frozen stages, and target labels of a killed comparison. The study, the
    epochs of every trial, the best model, comparisons and packed images are kept.

    While a search runs, logs and features stay, as do trials that failed, which it may try again,
    and as many models as it keeps itself.

    Raises:
        InputError: a comparison is running on the experiment.
    """
    searches = driver_is_alive(folder)
    if searches:
        keep = max(keep, models_to_keep(read_experiment(folder).search))
    with alone(folder) if folder.compare.is_dir() else nullcontext():
        return _clean_up(folder, keep, dry_run, searches)


def _clean_up(folder: ExperimentFolder, keep: int, dry_run: bool, searches: bool) -> CleanedUp:
    rows = read_trials(folder)
    kept = _with_models(rows, keep)
    there = {**folder.sizes(folder.trials), **({} if searches else folder.sizes(folder.ray))}
    goes_on = ("running", "failed") if searches else ("running",)
    over = [row for row in rows if row.state not in goes_on]
    unneeded = {
        name for row in over for name in _unneeded(folder, row, row.number in kept, set(there))
    }
    unneeded |= _left(folder, {row.number for row in over} if searches else None)
    logs = f"{folder.ray.name}/"
    gone = {name: n for name, n in there.items() if name in unneeded or name.startswith(logs)}
    labels = left_labels(folder)
    # Beside the packed images, and like them never on storage behind a URL.
    features = [] if searches else [*(folder.data / FEATURES).glob("*")]
    taken = [path.stat().st_size for path in features]
    if not dry_run:
        if features:
            shutil.rmtree(folder.data / FEATURES)
        for name in gone:
            folder.remove(folder.root / name)
        remove_left_labels(folder)
    sizes = [*gone.values(), *labels.values(), *taken]
    return CleanedUp(
        experiment=str(folder), files=len(sizes), bytes=sum(sizes), kept=kept, dry_run=dry_run
    )


def _unneeded(
    folder: ExperimentFolder, row: TrialRow, keeps_model: bool, there: set[str]
) -> list[str]:
    record = folder.trial_record(row.number).relative_to(folder.root)
    # Older versions stored a trial's epochs in its checkpoints alone.
    names = [*(TO_GO_ON if record.as_posix() in there else ()), *([] if keeps_model else [MODEL])]
    return [record.with_name(name).as_posix() for name in names]


def _with_models(rows: list[TrialRow], keep: int) -> list[int]:
    """Return the trials whose models stay, best first."""
    confirmed = {row.confirms for row in rows}
    ranked = enumerate(finished(rows))
    return [row.number for rank, row in ranked if rank < keep or row.number in confirmed]


def _left(folder: ExperimentFolder, of: set[int] | None) -> set[str]:
    """Return what was left half written, in the folders of some trials or, None, of all."""
    return {
        path.relative_to(folder.root).as_posix()
        for path in left_files(folder)
        if of is None or path.parent.name in map(str, of)
    }
