"""Where things lie in an experiment's folder: the one place that knows the file names."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dann_search.storage.remote_folder import RemoteFolder, is_url

STORAGE_VARIABLE = "DANN_SEARCH_STORAGE"


MODEL_RECORD = "model.json"
"""What makes a folder that of a model: readers look for it before they read the weights."""

EXTENSIONS = "extensions"
"""Folder of extension files, in an experiment, a model and a job."""


def _is_model_record(name: str) -> bool:
    return name.rsplit("/", 1)[-1] == MODEL_RECORD


def default_storage() -> str:
    """Where experiments lie by default: in ``$DANN_SEARCH_STORAGE``, else in ``runs``."""
    return os.environ.get(STORAGE_VARIABLE) or "runs"


class _Place:
    """A file or folder in that of an experiment, by its path there."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, folder: "ExperimentFolder", owner: type | None = None) -> Path:
        return folder.root / self.name


@dataclass(frozen=True)
class ExperimentFolder:
    """The folder of one experiment on storage.

    Where storage is behind a URL, ``root`` is a copy of it on this machine: what is read is fetched
    before, what is written is published after.
    """

    root: Path
    url: str | None = None

    record = _Place("experiment.yaml")
    """The resolved experiment, versions, seeds and split hashes."""
    study = _Place("study.db")
    """Optuna's study, the one record of the search."""
    study_journal = _Place("study.journal")
    """The study in the form for shared file systems."""
    lock = _Place("driver.lock")
    """Held by the driver; who it is."""
    stop = _Place("stop")
    """Its presence asks the driver to stop."""
    job = _Place("job.json")
    """The Ray job that searches, where one was submitted."""
    result = _Place("result.json")
    """How the last search on it ended."""
    leaderboard = _Place("leaderboard.csv")
    """Every trial with every parameter."""
    data = _Place("data")
    """The packed store."""
    extensions = _Place(EXTENSIONS)
    """Copies of the files under ``extensions``."""
    tensorboard = _Place("tensorboard")
    """Event files, one folder a trial."""
    trials = _Place("trials")
    """What the trials trained, one folder each."""
    best = _Place("best")
    """The best model."""
    best_refit = _Place("best-refit")
    """The best model trained again, on training and validation images."""
    refit = _Place("refit")
    """Trainings of such models."""
    compare = _Place("compare")
    """Trainings of the comparison with baselines."""
    supervised_data = _Place("compare/target_supervised-data")
    """The target's training images with their labels, while its upper bound is trained."""
    few_data = _Place("compare/target_few-data")
    """The target's few labelled images, while a network is trained on them alone."""
    ray = _Place("ray")
    """Logs and files of Ray, Tune and Train: for looking into, never needed."""

    @classmethod
    def at(cls, place: str | Path) -> Self:
        """Of a path or a URL."""
        if is_url(place):
            remote = RemoteFolder.of(str(place))
            return cls(remote.local, remote.url)
        return cls(Path(place))

    def __str__(self) -> str:
        """As people and messages call it."""
        return self.url or str(self.root)

    @property
    def remote(self) -> RemoteFolder | None:
        """What lies behind the URL, if there is one."""
        return RemoteFolder(self.url, self.root) if self.url else None

    def fetch(self, *paths: Path) -> None:
        """Have these files of the folder here as they are on storage."""
        if self.remote:
            self.remote.pull(self._names(paths))

    def refresh(self, *paths: Path) -> None:
        """Have those of these files here that somebody else has put on storage since."""
        changed = self.remote.refresh(self._names(paths)) if self.remote else []
        if self.study.name in changed:
            # What SQLite had to undo in a file that is no longer there.
            self.study.with_name(f"{self.study.name}-journal").unlink(missing_ok=True)

    def fetch_below(self, path: Path) -> None:
        """Have all files below a folder in it here as they are on storage."""
        if self.remote:
            name = self._name(path)
            changed = [name]
            while changed:
                files = {*self.remote.files(name), *self.remote.known(name)}
                changed = self.remote.refresh(sorted(files, key=_is_model_record))
                # Of a model that is published meanwhile the record changes: once more.
                changed = [file for file in changed if _is_model_record(file)]

    def publish(self, *paths: Path) -> None:
        """Have these files on storage as they are here."""
        if self.remote:
            self.remote.push(self._names(paths))

    def publish_below(self, path: Path) -> None:
        """Have all files below a folder in it on storage as they are here, and no others.

        A model's record goes first and comes last: where there is one, the files beside it are of
        the same model, whenever somebody looks and wherever this is cut off.
        """
        if self.remote:
            name = self._name(path)
            here = self._names(file for file in path.rglob("*") if file.is_file())
            there = self.remote.files(name)
            self.remote.withdraw(*filter(_is_model_record, there))
            self.remote.withdraw(*(set(there) - set(here)))
            records = set(filter(_is_model_record, here))
            self.remote.push((file for file in here if file not in records), at_once=True)
            self.remote.push(records)

    def sizes(self, path: Path) -> dict[str, int]:
        """Bytes of each file below a folder in it, by name, wherever storage is."""
        if self.remote:
            name = self._name(path)
            return self.remote.sizes(name)
        files = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
        return dict(zip(self._names(files), (file.stat().st_size for file in files), strict=True))

    def remove(self, path: Path) -> None:
        """Take a file away, here and on storage."""
        path.unlink(missing_ok=True)
        if self.remote:
            self.remote.remove(self._name(path))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _names(self, paths: Iterable[Path]) -> list[str]:
        return [self._name(path) for path in paths]

    def trial_model(self, number: int, refit: bool = False) -> Path:
        """Return the folder of a model of another trial than the best one."""
        return self.root / "models" / (f"trial-{number}-refit" if refit else f"trial-{number}")

    def tuned(self, search: str) -> "ExperimentFolder":
        """Return the search of a baseline of the comparison, an experiment of its own."""
        name = f"{self.compare.name}/tuned/{search}"
        return ExperimentFolder.at(f"{self.url}/{name}" if self.url else self.root / name)

    def trial(self, number: int) -> Path:
        """Checkpoints and error of one trial."""
        return self.trials / str(number)

    def move_trial(self, number: int, to: int) -> None:
        """Let another trial continue from what one has trained, if there is anything."""
        before, after = self.trial(number), self.trial(to)
        self.fetch_below(before)
        if before.is_dir() and not after.exists():
            before.rename(after)
            self.publish_below(after)

    def trial_record(self, number: int) -> Path:
        """Recipe, epochs and end of one trial."""
        return self.trial(number) / "trial.json"

    def trial_place(self, number: int) -> str:
        """Return a trial's folder as any machine finds it: a path or a URL."""
        return f"{self.url}/trials/{number}" if self.url else str(self.trial(number))
