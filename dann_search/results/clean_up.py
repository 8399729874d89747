"""Delete what a finished search no longer needs: checkpoints of lesser trials, logs."""

from contextlib import nullcontext

from dann_search.errors import InputError
from dann_search.outputs.trials import CleanedUp
from dann_search.results.leaderboard import finished
from dann_search.results.reader import TrialRow, read_trials
from dann_search.storage.compare_lock import alone, left_labels, remove_left_labels
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder

KEEP = 5
"""Trials whose models are kept by default."""
BEST, TO_GO_ON = "best.safetensors", ("last.safetensors", "previous.safetensors")


def clean_up(folder: ExperimentFolder, keep: int = KEEP, dry_run: bool = False) -> CleanedUp:
    """Delete what neither a resume nor any other command needs.

    Of trials that are over: the checkpoints to resume from, and the models of all but the ``keep``
    best. Besides: Ray's logs, and target labels that a killed comparison left behind. The study,
    the epochs of every trial, the best model, comparisons and packed images are kept.

    Raises:
        InputError: a search or a comparison is running on the experiment.
    """
    if driver_is_alive(folder):
        raise InputError(f"{folder}: a search is running on it; clean up when it has ended")
    with alone(folder) if folder.compare.is_dir() else nullcontext():
        return _clean_up(folder, keep, dry_run)


def _clean_up(folder: ExperimentFolder, keep: int, dry_run: bool) -> CleanedUp:
    rows = read_trials(folder)
    kept = [row.number for row in finished(rows)[:keep]]
    there = {**folder.sizes(folder.root / "trials"), **folder.sizes(folder.ray)}
    unneeded = {
        name for row in rows for name in _unneeded(folder, row, row.number in kept, set(there))
    }
    logs = f"{folder.ray.name}/"
    gone = {name: n for name, n in there.items() if name in unneeded or name.startswith(logs)}
    labels = left_labels(folder)
    if not dry_run:
        for name in gone:
            folder.remove(folder.root / name)
        remove_left_labels(folder)
    sizes = [*gone.values(), *labels.values()]
    return CleanedUp(
        experiment=str(folder), files=len(sizes), bytes=sum(sizes), kept=kept, dry_run=dry_run
    )


def _unneeded(
    folder: ExperimentFolder, row: TrialRow, keeps_model: bool, there: set[str]
) -> list[str]:
    if row.state == "running":
        return []
    record = folder.trial_record(row.number).relative_to(folder.root)
    # Older versions stored a trial's epochs in its checkpoints alone.
    names = [*(TO_GO_ON if record.as_posix() in there else ()), *([] if keeps_model else [BEST])]
    return [record.with_name(name).as_posix() for name in names]
