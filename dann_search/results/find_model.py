"""From what a user names, an experiment or a model's folder, to the model and its data."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dann_search.errors import InputError
from dann_search.layout import ExperimentFolder
from dann_search.results.best import write_best
from dann_search.results.model_files import RECORD, read_record_of_model
from dann_search.results.reader import open_experiment, read_record
from dann_search.results.store import packed_store


@dataclass(frozen=True)
class FoundModel:
    """A model's folder, what its model.json says, and the experiment that it lies in, if any."""

    folder: Path
    record: dict[str, Any]
    experiment: ExperimentFolder | None

    @cached_property
    def store(self) -> Path | None:
        """The packed images it was searched on; None outside of its experiment.

        Raises:
            InputError: they have to be packed anew, and the data are not here.
        """
        return packed_store(self.experiment) if self.experiment else None

    def publish(self) -> None:
        """Have on storage what was changed in the model's folder, where that is elsewhere."""
        if self.experiment:
            self.experiment.publish_below(self.folder)


def find_model(target: str | Path) -> FoundModel:
    """The best model of an experiment, written where it is not there yet, or a model's folder.

    Args:
        target: a folder with model.safetensors and model.json, or an experiment: its folder, or
            its name under ``runs``.

    Raises:
        InputError: there is neither, or the model cannot be read.
    """
    path = Path(target).expanduser()
    if (path / RECORD).is_file():
        record = read_record_of_model(path)
        return FoundModel(path.resolve(), record, _experiment_of(path, record))
    if path.is_dir() and not ExperimentFolder(path).record.is_file():
        raise InputError(
            f"{path}: no model (it has no {RECORD}) and no experiment (it has no "
            f"{ExperimentFolder(path).record.name})"
        )
    folder = open_experiment(target)
    folder.fetch_below(folder.best)
    if not (folder.best / RECORD).is_file():
        write_best(folder)
    record = read_record_of_model(folder.best)
    return FoundModel(folder.best, record, folder)


def _experiment_of(model_dir: Path, record: dict[str, Any]) -> ExperimentFolder | None:
    """The experiment whose folder the model lies in, if it is that of its images."""
    folder = ExperimentFolder(model_dir.resolve().parent)
    if not folder.record.is_file():
        return None
    if read_record(folder)["data"].get("hashes") != record["data"]["hashes"]:
        return None
    return folder
