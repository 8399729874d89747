"""Taking away what a finished search no longer needs: checkpoints of lesser trials, logs."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from dann_search.errors import InputError
from dann_search.results.leaderboard import finished
from dann_search.results.reader import TrialRow, read_trials
from dann_search.storage.compare_lock import alone, left_labels, remove_left_labels
from dann_search.storage.driver_lock import driver_is_alive
from dann_search.storage.layout import ExperimentFolder

KEEP = 5
"""Trials whose models stay, unless the user says otherwise."""
BEST, TO_GO_ON = "best.safetensors", ("last.safetensors", "previous.safetensors")


@dataclass(frozen=True)
class CleanUp:
    """What was taken away, or would be; ``kept`` are trials whose models stay, the best first."""

    folder: ExperimentFolder
    files: int
    bytes: int
    kept: list[int]
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """As ``gc --json`` prints it."""
        return {
            "experiment": str(self.folder),
            "files": self.files,
            "bytes": self.bytes,
            "kept": self.kept,
            "dry_run": self.dry_run,
        }

    def render(self) -> str:
        """As people read it."""
        done = "would take away" if self.dry_run else "took away"
        kept = ", ".join(map(str, self.kept)) or "none"
        size = f"{self.bytes / 2**20:.1f} MiB"
        return f"{done} {self.files} files, {size}; the models of these trials stay: {kept}"


def clean_up(folder: ExperimentFolder, keep: int = KEEP, dry_run: bool = False) -> CleanUp:
    """Take away what neither a resume nor any other command needs.

    That is, of trials that are over: the checkpoints to go on from, and beyond the best ``keep``
    the models; Ray's logs; and labels of the target that a comparison left when it was killed.
    Study, epochs of every trial, the best model, comparisons and packed images stay.

    Raises:
        InputError: a search or a comparison is running on it.
    """
    if driver_is_alive(folder):
        raise InputError(f"{folder}: a search is running on it; clean up when it has ended")
    with alone(folder) if folder.compare.is_dir() else nullcontext():
        return _clean_up(folder, keep, dry_run)


def _clean_up(folder: ExperimentFolder, keep: int, dry_run: bool) -> CleanUp:
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
    return CleanUp(folder, len(sizes), sum(sizes), kept, dry_run)


def _unneeded(
    folder: ExperimentFolder, row: TrialRow, keeps_model: bool, there: set[str]
) -> list[str]:
    if row.state == "running":
        return []
    record = folder.trial_record(row.number).relative_to(folder.root)
    # Older versions wrote a trial's epochs into its checkpoints alone.
    names = [*(TO_GO_ON if record.as_posix() in there else ()), *([] if keeps_model else [BEST])]
    return [record.with_name(name).as_posix() for name in names]
