"""Find the model, and its data, that an experiment or a folder named by the user stands for."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dann_search.errors import InputError, RunError
from dann_search.inference.best import write_best
from dann_search.inference.model_files import PLACE, RECORD, read_record_of_model
from dann_search.results.choose import choose
from dann_search.results.reader import open_experiment, read_record, read_trials, refresh
from dann_search.results.store import packed_store
from dann_search.storage.layout import ExperimentFolder


@dataclass(frozen=True)
class FoundModel:
    """A model's folder, the content of its model.json, and folders that may be its experiment's.

    ``trusted`` says whether its extensions may be executed.
    """

    folder: Path
    record: dict[str, Any]
    around: tuple[ExperimentFolder, ...]
    trusted: bool

    @cached_property
    def experiment(self) -> ExperimentFolder | None:
        """The experiment that contains it, else the one it was written from, if it still exists."""
        recorded = self.record.get(PLACE)
        places = [*self.around, *([ExperimentFolder.at(recorded)] if recorded else [])]
        # The last place of a root wins: for a local copy of remote storage, that of the record.
        distinct = {place.root: place for place in places}.values()
        return next((place for place in distinct if _has_images_of(place, self.record)), None)

    @cached_property
    def store(self) -> Path | None:
        """The packed images it was searched on; None without its experiment.

        Raises:
            InputError: they must be packed again, and the data are not on this machine.
        """
        return packed_store(self.experiment) if self.experiment else None

    def without_experiment(self, wanted: str, remedy: str) -> InputError:
        """Return the error that the images for a task are missing."""
        name, place = self.record["experiment"], self.record.get(PLACE) or self.folder.parent
        return InputError(
            f"{self.folder}: the {wanted} lies in the model's experiment, '{name}', and none with "
            f"its images is to be found at {place}; {remedy}"
        )

    def publish(self, path: Path | None = None) -> None:
        """Upload the model's folder, or one in it, if its experiment lies on remote storage."""
        place = path or self.folder
        if self.experiment and place.is_relative_to(self.experiment.root):
            self.experiment.publish_below(place)


def find_model(target: str | Path, trust_extensions: bool = False) -> FoundModel:
    """Find the model in a folder, or the best model of an experiment.

    The best model is that of the first trial of the leaderboard. It is written now if ``best`` is
    missing or holds another trial's, as during a search or after a crash.

    Args:
        target: a folder with model.safetensors and model.json, or an experiment: its folder, or
            its name under ``runs``.
        trust_extensions: as in ``load_model``. An experiment that is named is trusted.

    Raises:
        InputError: there is neither, or the model cannot be read or written.
        RunError: the best trial's checkpoint is damaged.
    """
    path = Path(target).expanduser()
    if (path / RECORD).is_file():
        place = path.resolve()
        # In an experiment models lie in best/ and in models/NAME/.
        around = tuple(map(ExperimentFolder, place.parents[:2]))
        return FoundModel(place, read_record_of_model(place), around, trust_extensions)
    if path.is_dir() and not ExperimentFolder(path).record.is_file():
        raise InputError(
            f"{path}: no model (it has no {RECORD}) and no experiment (it has no "
            f"{ExperimentFolder(path).record.name})"
        )
    folder = open_experiment(target)
    folder.fetch_below(folder.best)
    _ensure_first(folder)
    return FoundModel(folder.best, read_record_of_model(folder.best), (folder,), trusted=True)


def _ensure_first(folder: ExperimentFolder) -> None:
    """Write the model of the leaderboard's first trial to ``best``, if it is not there."""
    there = None
    if (folder.best / RECORD).is_file():
        record = read_record_of_model(folder.best)
        # Older versions wrote any trial's model here, and a refitted model is not the trial's.
        there = f"trial {record.get('trial')}{', refitted' if 'refit' in record else ''}"
    try:
        if there != f"trial {choose(read_trials(folder), folder).number}":
            write_best(folder)
    except (InputError, RunError) as exc:
        if there is None:
            raise
        raise type(exc)(
            f"{exc}; {folder.best} holds the model of {there}, which may not be the best: to use "
            "it all the same, name that folder"
        ) from None


def _has_images_of(folder: ExperimentFolder, record: dict[str, Any]) -> bool:
    """Return whether the folder is an experiment that was searched on the model's images."""
    try:
        if not folder.record.is_file():
            refresh(folder)
        hashes = read_record(folder)["data"].get("hashes")
    except (InputError, RunError):  # moved, deleted or unreachable
        return False
    return bool(hashes == record["data"]["hashes"])
